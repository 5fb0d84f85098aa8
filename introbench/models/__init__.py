"""Checkpoints, the embedded model, adapters and fine-tunes, and the disk cache."""
