"""Text autoencoders with one contract: T5VQVAE and the baselines that it is compared with."""
