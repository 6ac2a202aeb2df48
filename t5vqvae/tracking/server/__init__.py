"""Requests to an MLflow server: connection, runs, results, the model registry, and MLflow's limits."""
