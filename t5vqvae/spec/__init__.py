"""The spec of one run: everything that decides its result."""
