"""Solvers: run a trial's arms through the `inject/` provider."""
