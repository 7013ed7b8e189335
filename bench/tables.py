"""Numbers of several runs as rows of a Markdown table."""

import statistics
from collections.abc import Iterable, Sequence


def spread(values: Sequence[float], style: str = ".2f") -> str:
    """Return minimum, median and maximum."""
    return " / ".join(format(value, style) for value in (min(values), statistics.median(values), max(values)))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value which that share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
