"""Ablations: the declared study, the runs that follow from it, and the findings in its records."""
