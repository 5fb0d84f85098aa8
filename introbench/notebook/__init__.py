"""The instrument without Inspect, for notebooks and scripts."""
