"""The outbox: entries for MLflow are kept on disk, delivered in order, and sent again after a kill."""
