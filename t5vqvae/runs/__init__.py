"""One run on one machine: tracked, checkpointed, owned by one process, and resumable."""
