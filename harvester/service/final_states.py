"""What must be known before an answer ends a task: keeps the evidence, and says what each answer may do."""

from collections.abc import Callable, Iterable

import structlog

from harvester.api.client import Reply
from harvester.domain.final_state_breaker import FinalStateBreaker
from harvester.domain.outcomes import Gone, Misrouted, Outcome, Ready, Refused, Retrieved, Transient, misrouted
from harvester.domain.planning import Action
from harvester.domain.retrying import Circumstances, is_doubtful, settles_doubt
from harvester.domain.task_ids import is_same_id
from harvester.domain.tasks import Task
from harvester.service.clock import Clock
from harvester.service.progress import Progress

CONDITION = "answers"

REMEMBERED_MS = 10 * 60 * 1000
"""What the API answered before this process began counts for this long."""

NOT_WAITED_FOR_S = 60.0
"""A backfill does not wait longer than this for the API to answer sensibly again."""

_DOUBTFUL = frozenset({"gone", "unacceptable", "empty", "invalid", "failed"})
_GOOD = frozenset({"retrieved", "processing"})

_NOT_SERVED = frozenset({403, 404, 405, 410, 501})
"""HTTP statuses by which an API version says that it, or this call of it, is not there for this key."""

log = structlog.stdlib.get_logger()


class FinalStates:
    """Records what answers say about the API as a whole, in a circuit breaker for final states.

    `key` returns the fingerprint of the API key in use. `deadline_now_ms` corrects a time of this machine's clock by
    the API's. `rate_per_s` is set by the scheduler: the sustained rate limit in force, None without one.
    """

    def __init__(
        self,
        clock: Clock,
        progress: Progress,
        *,
        key: Callable[[], str | None] = lambda: None,
        deadline_now_ms: Callable[[int], int] = lambda now_ms: now_ms,
    ) -> None:
        self._clock = clock
        self._progress = progress
        self.key = key
        self._deadline_now_ms = deadline_now_ms
        self.rate_per_s: float | None = None
        self.has_closed = False
        """Whether the breaker has closed since the scheduler looked last: held tasks need not wait any longer."""
        self._breaker = FinalStateBreaker()

    def remember(self, answers: Iterable[tuple[int, str]]) -> None:
        """Begin with the recorded outcomes of other processes and of the one before: row ids of tasks, names."""
        known = [(task, outcome in _DOUBTFUL) for task, outcome in answers if outcome in _DOUBTFUL | _GOOD]
        self._breaker.remember(known, self._clock.monotonic())
        self._show()

    def understood(self, action: Action, reply: Reply, outcome: Outcome) -> Outcome:
        """Return what an answer means, given which question it answers.

        The other API version is asked only whether it knows the task: where it is not served, it does not. A result
        that names another id is the task's only if it does so again on a fresh connection.
        """
        if action.is_other_version and isinstance(outcome, Transient | Refused) and reply.status in _NOT_SERVED:
            return Gone(outcome.message, outcome.code)
        if not isinstance(outcome, Retrieved):
            return misrouted(outcome, action.task.task_id) or outcome
        received_id, task = outcome.embeddings.received_id, action.task
        if received_id is None:
            is_accepted = action.is_fresh
        else:
            is_repeated = action.is_fresh and task.other_id == received_id
            is_accepted = is_repeated or is_same_id(received_id, task.task_id)
        if is_accepted:
            return outcome
        named = f"names the id {received_id!a}" if received_id is not None else "names no id"
        message = f"The result {named}; it is asked for again on a new connection."
        return Misrouted(received_id or "", message)

    def record(self, task: Task, outcome: Outcome) -> None:
        """Take an answer about a task for what it says about the API."""
        if isinstance(outcome, Ready):
            self._breaker.listed(self._clock.monotonic())
        is_good = settles_doubt(outcome)
        if not is_good and not is_doubtful(outcome):
            return
        was_open = self._breaker.is_open
        has_closed = self._breaker.answered(
            task.key,
            self._clock.monotonic(),
            is_doubtful=not is_good,
            was_doubted=task.doubted_at_ms is not None,
        )
        self.has_closed = self.has_closed or has_closed
        if has_closed:
            log.info("the API answers sensibly again, ends are no longer held back")
        elif self._breaker.is_open and not was_open:
            reason = getattr(outcome, "message", "")
            log.warning("most answers bring no result, ends are held back", last=reason)
        self._show(outcome)

    def record_page(self, listed: Iterable[Task]) -> None:
        """Take a page of the list for what it says about the API, and about the tasks that it shows."""
        now = self._clock.monotonic()
        self._breaker.listed(now)
        for task in listed:
            if task.doubted_at_ms is not None:
                self._breaker.refuted(task.key, now)

    def circumstances(self, action: Action, key: str | None, now_ms: int) -> Circumstances:
        """Return what an answer to this request, asked with the key of that fingerprint, may do to its task."""
        task, now = action.task, self._clock.monotonic()
        doubted_for_s = 0.0 if task.doubted_at_ms is None else (now_ms - task.doubted_at_ms) / 1000
        return Circumstances(
            is_fresh=action.is_fresh,
            version=action.version,
            is_other_version=action.is_other_version,
            key=key,
            may_end=self._breaker.may_end(task.key, doubted_for_s, now),
            may_fail=self._breaker.may_end_by_its_word(now),
            is_held_back=self._breaker.is_open,
            deadline_now_ms=self._deadline_now_ms(now_ms),
        )

    @property
    def evidence_ago_s(self) -> float:
        """How long ago the API has last shown that it is well."""
        return self._breaker.evidence_ago_s(self._clock.monotonic())

    @property
    def is_open(self) -> bool:
        """Whether ends are held back."""
        return self._breaker.is_open

    @property
    def is_probing(self) -> bool:
        """Whether no tasks are asked but probes."""
        return self._breaker.only_probes(self._clock.monotonic(), self.rate_per_s)

    @property
    def is_open_for_long(self) -> bool:
        """Whether ends have been held back for longer than a backfill waits."""
        opened_at = self._breaker.opened_at
        return opened_at is not None and self._clock.monotonic() - opened_at >= NOT_WAITED_FOR_S

    def probe_wait_s(self) -> float:
        """Return how long the next probe must wait."""
        return max(0.0, self._breaker.next_probe_at - self._clock.monotonic())

    def probe_sent(self) -> None:
        """Record that a task is asked as a probe."""
        self._breaker.probe_sent(self._clock.monotonic(), self.rate_per_s)

    def _show(self, outcome: Outcome | None = None) -> None:
        if not self._breaker.is_open:
            self._progress.conditions.pop(CONDITION, None)
            return
        last = getattr(outcome, "message", None)
        why = f", the last: {last}" if last else ""
        self._progress.conditions[CONDITION] = (
            f"most of the last ones bring no result{why.rstrip('.')}. No task ends by them; single ones are asked again"
        )
