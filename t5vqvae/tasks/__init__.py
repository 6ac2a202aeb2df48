"""Tasks: a text that is not the input comes out. What is asked, how it is scored, and what doing nothing scores."""
