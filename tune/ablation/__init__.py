"""Ablations: what a study declares, which runs follow from it, and what its records say."""
