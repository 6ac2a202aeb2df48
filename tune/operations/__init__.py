"""The commands of the operations on latents: a trained model's codes read, changed and decoded on a terminal."""
