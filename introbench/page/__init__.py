"""Reports of logs as one self-contained page, and the figures in it."""
