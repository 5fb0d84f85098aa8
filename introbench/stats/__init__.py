"""Intervals, robust lines, two-way clustering, information and power: numbers in, numbers out."""
