"""Shows a running study."""
