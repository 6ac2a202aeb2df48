"""The MLflow server: the connection, its limits, runs, results and the model registry."""
