"""Self-checks that every run makes of itself, and the uncached reference that they use."""
