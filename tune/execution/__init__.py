"""Runs trials on Ray. The only folder of `tune` that imports Ray."""
