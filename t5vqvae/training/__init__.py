"""Trains one model: the loop, its optimizer, workers, device, memory, compilation, checkpoints and diagnostics."""
