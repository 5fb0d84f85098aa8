"""Tasks: one per experiment."""
