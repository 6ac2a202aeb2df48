"""Search spaces: ranges over the settings of a run, with conditions."""
