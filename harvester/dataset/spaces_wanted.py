"""Which vectors meet a filter of the Python API, or what there is instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harvester.dataset.spaces import mixed_models
from harvester.domain.errors import MixedModelsError, UsageError

if TYPE_CHECKING:
    from harvester.domain.results.result_filter import ResultFilter
    from harvester.domain.results.vectors import VectorSpace
    from harvester.ports.stored_results import StoredResults


def one_space(results: StoredResults, wanted: ResultFilter, dim: int | None) -> tuple[VectorSpace | None, int]:
    """Return the space of the wanted vectors with their number; None and 0 if nothing meets the filter.

    Raises MixedModelsError; UsageError if the filter names a value that no stored vector has.
    """
    found = [(space, count) for space, count in results.spaces(wanted) if dim in {None, space.dim}]
    if not found:
        check_values(results, wanted)
        return None, 0
    if len(found) == 1:
        return found[0]
    raise _mixed(found)


def _mixed(found: Sequence[tuple[VectorSpace, int]]) -> MixedModelsError:
    largest, *others = (space for space, _ in found)
    choice = []
    if largest.model_name and any(space.model_name != largest.model_name for space in others):
        choice.append(f'model="{largest.model_name}"')
    if any(space.dim != largest.dim for space in others if not choice or space.model_name == largest.model_name):
        choice.append(f"dim={largest.dim}")
    return mixed_models(found, "matrix", f"Choose, as with {', '.join(choice) or 'input_type=, label= or task_id='}.")


def check_values(results: StoredResults, wanted: ResultFilter) -> None:
    """Raise UsageError if the filter names a model, option, scope or medium that no stored vector has."""
    if not (wanted.models or wanted.options or wanted.scopes or wanted.input_types):
        return
    known = results.known_values()
    for argument, given, there in (
        ("model", wanted.models, known.models),
        ("option", wanted.options, known.options),
        ("scope", wanted.stored_scopes, known.scopes),
        ("input_type", wanted.input_types, known.input_types),
    ):
        # In an empty database nothing is known, and nothing is wrong.
        if given and there and not set(given) & set(there):
            raise UsageError(
                f"No stored vector has {argument} {' or '.join(ascii(one) for one in given)}.",
                remedy=f"There is {', '.join(ascii(one) for one in there)}.",
            )
