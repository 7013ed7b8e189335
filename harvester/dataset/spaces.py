"""Which models and dimensions the wanted vectors have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harvester.domain.errors import MixedModelsError, UsageError
from harvester.domain.results.result_filter import ResultFilter

if TYPE_CHECKING:
    from harvester.domain.results.vectors import VectorSpace
    from harvester.ports.stored_results import StoredResults

Spaces = Sequence[tuple["VectorSpace", int]]


def shown_space(space: VectorSpace) -> str:
    """Return the model and the length of the vectors, for people."""
    return f"{space.model_name or 'a model that is not known'} with {space.dim} numbers"


def wanted_spaces(results: StoredResults, wanted: ResultFilter) -> Spaces:
    """Return the spaces of the wanted vectors. Raises UsageError if there are none, StoreError."""
    return results.spaces(wanted) or _refuse(results, wanted)


def only_space(results: StoredResults, wanted: ResultFilter) -> tuple[VectorSpace, int]:
    """Return the one space of the wanted vectors, and their number. Raises MixedModelsError, UsageError, StoreError."""
    found = wanted_spaces(results, wanted)
    if len(found) == 1:
        return found[0]
    models = [space.model_name for space, _ in found]
    named = [model for model in dict.fromkeys(models) if model]
    choice = f"Choose one with --model {named[0]}, or name" if len(set(models)) == len(models) and named else "Name"
    remedy = f"{choice} a folder, such as vectors/: it gets one file for each model and dimension."
    raise mixed_models(found, "file", remedy)


def mixed_models(found: Spaces, whole: str, remedy: str) -> MixedModelsError:
    """Return the error for vectors of several spaces that were asked for as one `whole`."""
    return MixedModelsError(
        f"Vectors of {_listed(found)} cannot be compared, so one {whole} does not hold them all.", remedy=remedy
    )


def _listed(spaces: Spaces) -> str:
    texts = [f"{shown_space(space)} ({count:,})" for space, count in spaces]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _refuse(results: StoredResults, wanted: ResultFilter) -> Spaces:
    there = results.spaces(ResultFilter())
    if not there:
        raise UsageError("No vectors are stored yet.", remedy="`harvester status` shows what is queued.")
    hints = [f"{count:,} match without {option}" for option, count in _without_one(results, wanted) if count]
    raise UsageError(
        f"No stored vector matches{': ' + '; '.join(hints) if hints else ''}. There are vectors of {_listed(there)}.",
        remedy="`harvester list` shows the tasks with their models, media and labels.",
    )


def _without_one(results: StoredResults, wanted: ResultFilter) -> Iterator[tuple[str, int]]:
    """Yield each condition that was given, and how many vectors match without it."""
    nothing = ResultFilter()
    given: list[tuple[str, ResultFilter]] = [
        ("--model", replace(wanted, models=())),
        ("--option", replace(wanted, options=())),
        ("--scope", replace(wanted, scopes=())),
        ("--input-type", replace(wanted, input_types=())),
        ("--task", replace(wanted, task_ids=())),
        ("--label", replace(wanted, labels={})),
        ("--name", replace(wanted, name=None)),
        ("--since", replace(wanted, since_ms=None)),
    ]
    for option, without in given:
        if without not in (wanted, nothing):
            yield option, sum(count for _, count in results.spaces(without))
