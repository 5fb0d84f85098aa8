"""Results as the flat values of an Inspect metric."""

from introbench.analysis.shifts import Result


def result_values(results: list[Result]) -> dict[str, float]:
    """Metric values by readable name; a contrast without pairs is NaN with 0 pairs."""
    values: dict[str, float] = {}
    for result in results:
        values[result.key] = result.interval.estimate
        values[f"{result.key} | low"] = result.interval.low
        values[f"{result.key} | high"] = result.interval.high
        values[f"{result.key} | pairs"] = result.pairs
        values[f"{result.key} | missing"] = result.missing
    return values
