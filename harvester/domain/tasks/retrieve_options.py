"""The filter of a retrieval in version 1 of the API: for which embedding options the result is asked for.

A task has a filter of its own, or the setting decides at the time of the retrieval. No options mean everything.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from harvester.domain.tasks.task import Task

OPTION_REFUSED = "embedding_option_refused"
"""The error code of a task whose filter the API has refused."""

NO_SEGMENTS = "no_segments"
"""The error code of a task whose result had no segments."""

RetrieveOption = Literal["visual", "audio", "transcription", "visual-text"]

RETRIEVE_OPTIONS: tuple[str, ...] = get_args(RetrieveOption)

UNFILTERED_MS = 24 * 3600 * 1000
"""Milliseconds before the deadline: from then on a task whose filter was refused is asked for everything."""


def options_to_retrieve(task: Task, default: tuple[str, ...], now_ms: int) -> tuple[str, ...]:
    """Return the options to ask for; `default` is the setting, `now_ms` the present in Unix milliseconds.

    Without the filter, nothing ready is lost: where the last answer had no segments, the task may have none of the
    options, and where the API refuses the filter, it is left out on the last day.
    """
    if task.error_code == NO_SEGMENTS:
        return ()
    if task.error_code == OPTION_REFUSED and task.expires_at_ms - now_ms < UNFILTERED_MS:
        return ()
    return default if task.retrieve_options is None else task.retrieve_options


def options_to_record(task: Task, asked: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what to keep with a harvested task that was asked for these options; None if nothing was ever left out.

    A person may have chosen other options while the request was under way.
    """
    return asked if asked or task.retrieve_options else None


def widened(stored: Sequence[str] | None, named: Sequence[str]) -> tuple[str, ...] | None:
    """Return what to ask for so that a result holds `named` and what it holds now; None if it holds `named` already.

    `stored` is what the result was asked for. No options mean everything.
    """
    if not stored or (named and set(named) <= set(stored)):
        return None
    return (*stored, *(option for option in named if option not in stored)) if named else ()
