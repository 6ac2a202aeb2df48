"""Where sentences come from, one corpus a file; `base.py` says how to add one."""
