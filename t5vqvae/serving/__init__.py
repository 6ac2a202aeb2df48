"""Serves a trained model over HTTP: answers to requests in batches, metrics, and a page to play with its codes."""
