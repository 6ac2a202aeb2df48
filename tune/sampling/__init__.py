"""Chooses the next trial of a search with Optuna."""
