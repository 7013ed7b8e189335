"""Classify the platform's message about a failed task: what has happened, and what a person can do.

The API gives no code with `failed`, only a text. The documented texts and their kind are below; any other text is
unknown. Upper and lower case, spacing and surrounding text make no difference.
"""

import re

from harvester.domain.tasks.task import TaskState

TASK_FAILED = "task_failed"
"""The message is none of the known ones."""

RESULT_EXPIRED = "result_expired"

LISTED_FAILED = "listed_failed"
"""The code of an open task that the list shows as failed."""

NO_REASON = "The platform gives no reason."
LISTED_WITHOUT_REASON = "The list says that the task has failed; the task itself is asked for the reason."

_INPUT = r"\b(?:media|sources?|urls?|files?|video|audio|image|document|input)\b"
_MEASURE = r"\b\d[\d.,]* ?(?:pages?|bytes?|[kmgt]i?b|s|secs?|seconds?|min|minutes?|h|hours?|tokens?|pixels?|px)\b"
_BOUND = r"(?:exceed|maximum|minimum|limit|too (?:large|long|big|short|small)|at least|at most|less than|more than)"
_MEASURED = rf"{_BOUND}.*{_MEASURE}|{_MEASURE}.*{_BOUND}"
_UNREADABLE = (
    rf"^(?=.*{_INPUT}).*(?:\b(?:failed|unable|not|cannot|error)\b.*\b(?:fetch|materiali[sz]e|download)"
    r"|no longer available)"
)

_KINDS = (
    (RESULT_EXPIRED, r"\b(?:results?|embeddings)\b[^.]*\b(?:no longer available|expired)"),
    ("task_failed_unreachable", _UNREADABLE),
    (RESULT_EXPIRED, r"no longer available"),
    ("task_failed_too_large", r"exceeds the maximum allowed size|exceeds the model's context window"),
    ("task_failed_input", r"embedding request was invalid|could not process your media"),
    ("task_failed_unclear", r"could not complete processing"),
    ("task_failed_platform", r"temporarily (?:unstable|unavailable)|\b(?:(?:rate|time) limit|timed? ?out).*try again"),
    # Their numbers do not measure the input.
    (TASK_FAILED, r"\b(?:rate|time) limit|timed? ?out"),
    ("task_failed_too_large", _MEASURED),
    ("task_failed_platform", r"try again later"),
)
"""The code of each kind, and the pattern of its messages; the first that is found decides."""

_PATTERNS = [(code, re.compile(pattern, re.ASCII)) for code, pattern in _KINDS]

_CLASSIFIED_CHARACTERS = 4_000
"""Characters: some patterns take time in proportion to the square of the length."""


def failure_code(message: str) -> str:
    """Return the error code for the message of a failed task; TASK_FAILED for an unknown message."""
    text = " ".join(message[:_CLASSIFIED_CHARACTERS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().split())
    return next((code for code, pattern in _PATTERNS if pattern.search(text)), TASK_FAILED)


def known_reason(code: str | None, message: str | None) -> str | None:
    """Return the platform's reason in the last error of a task; None if the error is none of a failure, or has none."""
    is_failure = code in FAILURE_CODES or code == LISTED_FAILED
    return message if is_failure and message not in (NO_REASON, LISTED_WITHOUT_REASON) else None


FAILURE_CODES = frozenset(code for code, _ in _KINDS) | {TASK_FAILED}


def failed_state(code: str | None) -> TaskState | None:
    """Return the state in which a failure with that code ends a task; None for a code of another kind."""
    if code == RESULT_EXPIRED:
        return TaskState.EXPIRED
    return TaskState.FAILED if code in FAILURE_CODES else None
