"""Trains one model: the loop, its optimizer, device, memory, compilation, checkpoints and diagnostics."""
