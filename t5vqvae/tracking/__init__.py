"""Tracking: what MLflow hears of a study and of every run in it.

An experiment a study, a parent run the search, a child run each trial. `Tracker` is a small picklable handle that opens
and closes runs; `RunLogger` logs one run. Whatever a run logs is first a line in a journal on disk, which a background
thread sends: a slow or absent server neither blocks nor kills training, and what a killed process left is sent by the
next logger of that run or by `Tracker.replay`. Sending twice changes nothing.

To log something new, add a kind of entry to `delivery.py` and a method to `RunLogger` that writes it.
"""

from t5vqvae.tracking.logger import RunLogger
from t5vqvae.tracking.tracker import Tracker

__all__ = ["RunLogger", "Tracker"]
