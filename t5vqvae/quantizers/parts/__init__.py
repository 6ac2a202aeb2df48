"""The parts that quantizers share, one file each, from the assignment of entries to the measures of their use."""
