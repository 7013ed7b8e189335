"""Whether the server at the configured address has answered like the API."""

from harvester.domain.planning.answer_match import TASK_ID_INVALID
from harvester.domain.tasks.outcomes import (
    Empty,
    Failed,
    Invalid,
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
    UnknownHere,
)
from harvester.reports.error_codes import UNKNOWN, explain
from harvester.service.run_options import NOT_WAITED_FOR_S

_REMEDY = "Check api.base_url, the network and any proxy: `harvester doctor` tries them."

_UNKNOWN_TASK_CODES = frozenset({"resource_not_exists", "resource_not_exist"})

KNOWN_STATUSES = frozenset({"processing", "pending", "queued", "indexing", "generic_error"})
"""The words of the API for a task that has not finished."""


class ApiContact:
    """Whether the server has answered like the API since the harvest began, and the last other answer.

    A wrong address, a proxy's page or no network give other answers. `address` names the setting, and the URL if it may
    be shown. Times are monotonic seconds.
    """

    def __init__(self, address: str = "api.base_url") -> None:
        self._address = address
        self.has_answered = False
        self.last: Outcome | None = None
        """The last answer, or failure, that was not like the API."""
        self._failed_at: float | None = None
        self._last_failed_at = 0.0

    def record_page(self) -> None:
        """Record a page of the list."""
        self.has_answered = True

    def record(self, outcome: Outcome, now: float) -> None:
        """Record the outcome of any request."""
        if is_of_api(outcome):
            self.has_answered = True
        elif not self.has_answered:
            self.last = outcome
            self._last_failed_at = now
            self._failed_at = now if self._failed_at is None else self._failed_at

    def description(self) -> str | None:
        """Return in a sentence which address has not answered like the API, what did, and the remedy; else None."""
        if self.has_answered or self.last is None:
            return None
        return f"{self._address} has not answered like the API so far, the last: {named(self.last)}. {_REMEDY}"

    def is_lost(self, now: float) -> bool:
        """Return whether there has been no answer of the API for so long that a harvest that ends by itself ends.

        Unless the server asks to wait, a request must have failed after that time, too: there may have been none to
        send, or the machine was suspended.
        """
        if self._failed_at is None or self.silent_s(now) < NOT_WAITED_FOR_S:
            return False
        return isinstance(self.last, Throttled) or self._last_failed_at - self._failed_at >= NOT_WAITED_FOR_S

    def silent_s(self, now: float) -> float:
        """Return the seconds since the first answer that was not like the API; 0 once there has been another."""
        return 0.0 if self.has_answered or self._failed_at is None else now - self._failed_at


def named(outcome: Outcome) -> str:
    """Return the message, with a code that the message alone does not explain."""
    message, code = (outcome.message or outcome.kind).rstrip("."), outcome.code
    return f"{message} ({code})" if code is not None and needs_a_person(code) else message


def needs_a_person(code: str) -> bool:
    """Return whether a person has to look the code up."""
    return code == "api_upgrade_required" or explain(code) is UNKNOWN


def is_of_api(outcome: Outcome) -> bool:
    """Return whether only the API can have given this answer, by its form."""
    match outcome:
        case Ready() | Retrieved() | Failed() | Refused():
            return True
        case InvalidRequest():
            return outcome.code != TASK_ID_INVALID
        case Processing():
            return outcome.received_id is not None or outcome.status in KNOWN_STATUSES
        case Empty() | Invalid():
            return outcome.received_id is not None
        case NotFound() | UnknownHere():
            return outcome.code in _UNKNOWN_TASK_CODES
        case Throttled():
            return outcome.is_api or outcome.code == "too_many_requests"
        case Transient():
            return outcome.is_api
        case _:
            return False
