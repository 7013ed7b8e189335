"""Conclusions from single outcomes about the API as a whole."""

from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.tasks.outcomes import Misrouted, Outcome, Processing, Refused, Transient
from harvester.ports.log import get_logger
from harvester.reports.error_codes import explain
from harvester.service.api_contact import KNOWN_STATUSES, ApiContact, named, needs_a_person
from harvester.service.clock import Clock
from harvester.service.conditions import set_condition
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl

CONDITION = "api"

MAX_KNOWN_STATUSES = 50
"""Statuses, known ones included: once this many were seen, a further unknown status is not logged."""

MAX_LOGGED_CODES = 50

log = get_logger()


class ApiHealth:
    """Updates breaker and condition `api`, stops a harvest whose key is refused; `contact` has what answers.

    It logs each unknown status, and each error code that a person has to look up, once.
    """

    def __init__(
        self, breaker: Breaker, progress: Progress, clock: Clock, control: RunControl, address: str = "api.base_url"
    ) -> None:
        self._breaker = breaker
        self._progress = progress
        self._clock = clock
        self._control = control
        self.contact = ApiContact(address)
        self._unknown_statuses: set[str] = set()
        self._logged_codes: set[str] = set()

    def record_outcome(self, outcome: Outcome) -> None:
        """Learn from the outcome of a request about one task."""
        self.contact.record(outcome, self._clock.monotonic())
        if isinstance(outcome, Transient | Misrouted):
            self._breaker.failed(self._clock.monotonic())
        else:
            self._breaker.succeeded()
        self._show(outcome)
        if isinstance(outcome, Refused):
            self._control.refuse(outcome)
        if isinstance(outcome, Processing):
            self._log_if_unknown(outcome.status)
        self.record_code(outcome)

    def record_list_failure(self, outcome: Outcome) -> None:
        """Learn from an answer in place of a page of the list."""
        self.contact.record(outcome, self._clock.monotonic())
        self._show(outcome)
        self.record_code(outcome)

    def record_page(self) -> None:
        """Learn from a page of the list."""
        if not self.contact.has_answered:
            self.contact.record_page()
            self._show(None)

    def _show(self, outcome: Outcome | None) -> None:
        """Set condition `api`, or end it; `outcome` is the latest, None for a page of the list."""
        unanswered = self.contact.description()
        if unanswered is not None:
            set_condition(self._progress, CONDITION, unanswered)
        elif self._breaker.is_closed:
            set_condition(self._progress, CONDITION, None)
        elif isinstance(outcome, Transient | Misrouted):
            set_condition(self._progress, CONDITION, f"most requests fail, the last with: {named(outcome)}")

    def record_code(self, outcome: Outcome) -> None:
        """Log an error code that a person has to look up, of any request, once."""
        code = outcome.code
        is_new = code is not None and code not in self._logged_codes and len(self._logged_codes) < MAX_LOGGED_CODES
        if code is not None and is_new and needs_a_person(code):
            self._logged_codes.add(code)
            log.warning("the API refuses a request", code=code, reason=outcome.message, remedy=explain(code).remedy)

    def _log_if_unknown(self, status: str) -> None:
        known = self._unknown_statuses | KNOWN_STATUSES
        if status not in known and len(known) < MAX_KNOWN_STATUSES:
            self._unknown_statuses.add(status)
            log.warning("unknown status, taken for not finished", status=status)
