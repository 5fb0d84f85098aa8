"""introbench: does a language model notice a concept injected into its KV cache?

This package is the instrument. It needs torch and transformers only; everything that speaks to
Inspect is in `introbench.provider.inject_api`, `introbench.evals`, `introbench.solvers` and `introbench.scorers`.
"""

__version__ = "0.1.0"
