"""Logs as data frames of pandas: trials arm by arm, and the results that the tables show."""
