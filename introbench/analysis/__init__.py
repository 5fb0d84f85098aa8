"""From the records of trials to results and the verdict; NumPy and SciPy, neither torch nor Inspect."""
