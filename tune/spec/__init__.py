"""The specs of studies: searches, their samplers, objectives and budgets."""
