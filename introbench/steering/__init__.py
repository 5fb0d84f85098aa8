"""Injections, the arms of a batch, their strengths and doses."""
