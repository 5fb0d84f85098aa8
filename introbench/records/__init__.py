"""What a log holds of a trial: its factors, its arms, and what the model's output says of each arm.

Each record is written and read in one file. Nothing here needs torch or Inspect.
"""
