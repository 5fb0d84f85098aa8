"""Conversations with a model: the files in `datasets/`, chat templates, questions, answers and published files."""
