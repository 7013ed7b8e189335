"""How many stored results have no known model; vectors of different models cannot be compared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelGaps:
    """How many stored results have no known model; the list has been asked for `asked` of them, and named no model."""

    results: int = 0
    asked: int = 0
