"""What a trained model is probed for, one measure a file."""
