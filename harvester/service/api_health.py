"""Conclusions from single outcomes about the API as a whole."""

import structlog

from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.tasks.outcomes import Misrouted, Outcome, Processing, Refused, Transient
from harvester.reports.error_codes import UNKNOWN, explain
from harvester.service.clock import Clock
from harvester.service.conditions import set_condition
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl

CONDITION = "api"

MAX_KNOWN_STATUSES = 50
"""Statuses, known ones included: once this many were seen, a further unknown status is not logged."""

MAX_LOGGED_CODES = 50

_KNOWN_STATUSES = frozenset({"processing", "pending", "queued", "indexing", "generic_error"})

log = structlog.stdlib.get_logger()


class ApiHealth:
    """Updates breaker and condition `api`, stops a harvest whose key is refused.

    It logs each unknown status, and each error code that a person has to look up, once.
    """

    def __init__(self, breaker: Breaker, progress: Progress, clock: Clock, control: RunControl) -> None:
        self._breaker = breaker
        self._progress = progress
        self._clock = clock
        self._control = control
        self._unknown_statuses: set[str] = set()
        self._logged_codes: set[str] = set()

    def record_outcome(self, outcome: Outcome) -> None:
        """Learn from the outcome of a request about one task."""
        if isinstance(outcome, Transient | Misrouted):
            self._breaker.failed(self._clock.monotonic())
        else:
            self._breaker.succeeded()
        if self._breaker.is_closed:
            set_condition(self._progress, CONDITION, None)
        elif isinstance(outcome, Transient | Misrouted):
            set_condition(self._progress, CONDITION, f"most requests fail, the last with: {_named(outcome)}")
        if isinstance(outcome, Refused):
            self._control.refuse(outcome)
        if isinstance(outcome, Processing):
            self._log_if_unknown(outcome.status)
        self.record_code(outcome)

    def record_code(self, outcome: Outcome) -> None:
        """Log an error code that a person has to look up, of any request, once."""
        code = outcome.code
        is_new = code is not None and code not in self._logged_codes and len(self._logged_codes) < MAX_LOGGED_CODES
        if code is not None and is_new and _needs_a_person(code):
            self._logged_codes.add(code)
            log.warning("the API refuses a request", code=code, reason=outcome.message, remedy=explain(code).remedy)

    def _log_if_unknown(self, status: str) -> None:
        known = self._unknown_statuses | _KNOWN_STATUSES
        if status not in known and len(known) < MAX_KNOWN_STATUSES:
            self._unknown_statuses.add(status)
            log.warning("unknown status, taken for not finished", status=status)


def _needs_a_person(code: str) -> bool:
    return code == "api_upgrade_required" or explain(code) is UNKNOWN


def _named(outcome: Transient | Misrouted) -> str:
    """Return the message, with a code that the message alone does not explain."""
    return f"{outcome.message.rstrip('.')} ({outcome.code})" if _needs_a_person(outcome.code) else outcome.message
