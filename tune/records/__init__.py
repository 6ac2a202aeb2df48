"""The records of a study: its folders, its trials, their ranking, and its tracker."""
