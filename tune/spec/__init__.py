"""The specs of studies, with their samplers, objectives and budgets."""
