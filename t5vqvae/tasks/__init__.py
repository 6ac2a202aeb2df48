"""Tasks: a text that is not the input comes out. The question, the scores, and what doing nothing scores."""
