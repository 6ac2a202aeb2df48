"""Tracking: logs a study and every run in it to MLflow.

In MLflow a study is an experiment, a search is a parent run, and each trial is a child run. `Tracker` is a small
picklable handle that opens and closes runs; `RunLogger` logs one run. A logger first appends every entry to a journal
on disk, and a background thread sends the journal: a slow or absent server neither blocks nor stops training. What a
killed process left unsent is sent by the next logger of that run or by `Tracker.replay`. Sending an entry twice changes
nothing.

To log something new, add a kind of entry to `outbox/delivery.py` and a method to `RunLogger` that writes it.
"""

from t5vqvae.tracking.logger import RunLogger
from t5vqvae.tracking.tracker import Tracker

__all__ = ["RunLogger", "Tracker"]
