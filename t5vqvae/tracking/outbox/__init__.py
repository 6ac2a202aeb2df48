"""Entries on their way to MLflow: kept on disk, delivered in order, replayed after a kill."""
