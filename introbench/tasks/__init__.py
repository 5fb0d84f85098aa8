"""From `-T` arguments to the samples of a task."""
