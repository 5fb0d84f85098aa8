"""Regression tests of models: `pytest --pyargs introbench.regression --model inject/NAME [--baseline FILE]`."""
