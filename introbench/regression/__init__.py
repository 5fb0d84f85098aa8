"""Checks of a model for pytest: `pytest --pyargs introbench.regression --model inject/NAME [--baseline FILE]`."""
