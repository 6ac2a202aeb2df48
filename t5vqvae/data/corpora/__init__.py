"""The corpora, one a file; `base.py` explains how to add one."""
