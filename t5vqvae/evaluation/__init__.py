"""Judges a trained model: every metric, its sums over batches and workers, and the comparison of texts."""
