"""One run on one machine: tracked, checkpointed, resumable, and written by one process at a time."""
