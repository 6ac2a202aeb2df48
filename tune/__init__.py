"""Search, ablation and promotion: how many runs answer a question. What one run is, `t5vqvae` knows."""
