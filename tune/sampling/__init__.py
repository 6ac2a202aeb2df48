"""Chooses the next trial with Optuna."""
