"""The options that choose tasks, and the filter that they make."""

from collections.abc import Sequence
from typing import Annotated

import typer

from harvester.cli.durations import parse_moment_ms
from harvester.domain.errors import UsageError
from harvester.domain.tasks.labels import check_label_key, parse_labels
from harvester.domain.tasks.task import TaskState

WithState = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE[,STATE]", help="Only tasks in these states; open is pending and ready."),
]
WithLabel = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only tasks with this label; repeatable, then with all of them."),
]

_OPEN = "open"


def wanted_states(text: str | None) -> tuple[TaskState, ...]:
    """Return the states of `--state`. Raises UsageError."""
    if text is None:
        return ()
    names = words(text, "--state")
    for name in names:
        if name != _OPEN and name not in list(TaskState):
            raise UsageError(f"--state {name!a} is no state.", remedy=f"Choose from {_OPEN}, {', '.join(TaskState)}.")
    return tuple(state for state in TaskState if state in names or (state.is_open and _OPEN in names))


def wanted_labels(texts: Sequence[str] | None) -> dict[str, str]:
    """Return the labels of `--label`. Raises UsageError, also for an empty value."""
    labels = parse_labels(texts or ())
    for key, value in labels.items():
        check_label_key(key)
        if not value:
            raise UsageError(f"--label {key}= has no value.", remedy="Write it as key=value, such as show=x.")
    return labels


def wanted_since_ms(text: str | None, now_ms: int) -> int | None:
    """Return Unix milliseconds of `--since`. Raises UsageError."""
    return None if text is None else parse_moment_ms(text, "--since", now_ms)


def words(text: str | None, option: str) -> tuple[str, ...]:
    """Return the words of a list with commas; none for None. Raises UsageError naming `option` for an empty list."""
    found = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not found:
        raise UsageError(f"{option} is empty.", remedy="Give one or more names with commas between them.")
    return found
