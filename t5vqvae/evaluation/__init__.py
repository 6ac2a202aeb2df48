"""Evaluates a trained model: the list of metrics, their sums over batches and workers, and the scores of texts."""
