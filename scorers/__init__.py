"""Scorers: what a trial's arms say, and what trials say together."""
