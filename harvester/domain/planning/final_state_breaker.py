"""A circuit breaker for final states: while most answers bring no result, such an answer ends no task.

During a fault of the platform, or with a wrong base URL, the API answers every request with the same "not found". One
such answer is evidence about a task; many of them are evidence of trouble at the API. Then the breaker holds ends back,
the scheduler asks about one task at a time as a probe, and the first good answer closes the breaker. Times are
monotonic seconds, `tasks` are row ids.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW_TASKS = 20
"""Tasks: the breaker compares the last answers about this many different ones."""

MIN_DOUBTED_TASKS = 5
"""Tasks without a result: fewer do not open the breaker, because a list of ids may hold mistyped ones.

This many in a row open it whatever the answers before them were.
"""

MIN_ASKED, MAX_ASKED = 8, 50
"""Tasks in a row without a result after which only probes go out; the rate limit decides between the two numbers."""

MIN_PROBE_PAUSE_S = 1.0
MAX_PROBE_PAUSE_S = 60.0
LATER_PROBE_PAUSE_S = 600.0
"""Seconds: the longest pause between two probes before the end of PROBES_ONLY_S, and after it."""

PROBE_SHARE_REQUESTS = 20
"""With a low rate limit, at most one request in this many is a probe."""

PROBES_ONLY_S = 3600.0
"""Seconds after which the trouble counts as lasting: then every task is asked about again, once in some hours."""

AGAIN_S = 600.0
"""Seconds: a breaker that opens again within them keeps its long pauses, because a single good answer proves little."""

EVIDENCE_S = 600.0
"""Seconds: an older good answer does not show that the API is healthy now."""

LONE_EVIDENCE_S = 600.0
"""Seconds of doubt after which a page of the list is enough evidence, without an answer about another task."""

FAILED_EVIDENCE_S = 600.0
"""Seconds of doubt after which an answer that names the task and says that it has failed is enough evidence."""

REFUTED_S = 3600.0
"""Seconds for which answers without a result are not trusted, after a good answer contradicted one of them."""

MAX_DOUBTED = 1000
"""Tasks without a result that the breaker remembers, to notice when the API knows one of them after all."""


@dataclass(slots=True)
class FinalStateBreaker:
    """Opens when most tasks in the window, or the last MIN_DOUBTED_TASKS, bring no result; a good answer closes it.

    `opened_at` is None while it is closed. `next_probe_at` is when the next probe may go out.
    """

    opened_at: float | None = None
    next_probe_at: float = 0.0
    _trouble_since: float = 0.0
    """When the breaker opened; the first time, if it has opened again within AGAIN_S."""
    _well_at: float = -math.inf
    _closed_at: float = -math.inf
    _doubted_in_a_row: set[int] = field(default_factory=set)
    _window: dict[int, bool] = field(default_factory=dict)
    _good_at: float = -math.inf
    _doubted: dict[int, None] = field(default_factory=dict)
    _doubted_before: set[int] = field(default_factory=set)
    """The tasks that were doubted when the breaker last closed: their next doubtful answer counts again."""
    _refuted: dict[int, float] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether the breaker holds ends back."""
        return self.opened_at is not None

    @property
    def asked(self) -> int:
        """The number of tasks that have brought no result since the last good answer."""
        return len(self._doubted_in_a_row)

    @property
    def doubted(self) -> int:
        """The number of remembered open tasks that have brought no result."""
        return len(self._doubted)

    def ended(self, task: int) -> None:
        """Forget a task that has ended."""
        self._doubted.pop(task, None)

    def answered(self, task: int, now: float, *, is_doubtful: bool, is_young: bool = False) -> bool:
        """Record an answer about a task; return whether it closed the breaker.

        `is_doubtful`: it brings no result and may end the task; a repetition for the same task does not count, unless
        the breaker has closed since. `is_young`: the task may not be visible everywhere yet.
        """
        if is_doubtful and task in self._doubted and task not in self._doubted_before:
            return False
        self._doubted_before.discard(task)
        self._window.pop(task, None)
        self._window[task] = is_doubtful
        if len(self._window) > WINDOW_TASKS:
            del self._window[next(iter(self._window))]
        if is_doubtful:
            self._doubted[task] = None
            if len(self._doubted) > MAX_DOUBTED:
                del self._doubted[next(iter(self._doubted))]
            self._doubted_in_a_row.add(task)
            self._open_if_most_are_doubted(now)
            return False
        if task in self._doubted:
            del self._doubted[task]
            if not is_young:
                self.refuted(task, now)
        return self._good(now)

    def refuted(self, task: int, now: float) -> None:
        """Record that the API knows a task that it did not know before."""
        self._refuted = {key: at for key, at in self._refuted.items() if now - at <= REFUTED_S}
        self._refuted[task] = now

    def listed(self, now: float) -> None:
        """Record a page of the list, or a READY answer: the API is healthy, but its other answers may be wrong."""
        self._well_at = now

    def remember(self, answers: Iterable[tuple[int, bool]], now: float) -> None:
        """Load the answers from before this process: pairs of a task and whether the answer was doubtful.

        They may open the breaker, but do not show that the API is healthy now, nor that its answers are wrong.
        """
        for task, is_doubtful in answers:
            self.answered(task, now, is_doubtful=is_doubtful, is_young=True)
        self._well_at = self._good_at = -math.inf

    def may_end(self, doubted_for_s: float, now: float, *, is_alone: bool) -> bool:
        """Return whether an answer may end a task whose first doubtful answer came `doubted_for_s` ago.

        Since then, a good answer about another task must have shown that the API is healthy. A page of the list is
        enough if there is no other task (`is_alone`), or after LONE_EVIDENCE_S.
        """
        if self._is_doubted_itself(now):
            return False
        is_enough = is_alone or doubted_for_s >= LONE_EVIDENCE_S
        return self._since(self._good_at, doubted_for_s, now) or (
            is_enough and self._since(self._well_at, doubted_for_s, now)
        )

    def may_fail(self, doubted_for_s: float, now: float, *, is_alone: bool) -> bool:
        """Return whether an answer may end a task that names the task and says that it has failed."""
        if self._is_doubted_itself(now):
            return False
        is_enough = is_alone or doubted_for_s >= FAILED_EVIDENCE_S
        return is_enough or self._since(self._good_at, doubted_for_s, now)

    def _is_doubted_itself(self, now: float) -> bool:
        """Whether answers without a result cannot be trusted."""
        return self.is_open or any(now - at <= REFUTED_S for at in self._refuted.values())

    @staticmethod
    def _since(at: float, doubted_for_s: float, now: float) -> bool:
        return now - at <= min(EVIDENCE_S, max(0.0, doubted_for_s))

    def evidence_ago_s(self, now: float) -> float:
        """Return the seconds since the API last showed that it is healthy; infinite if it never has."""
        return now - self._well_at

    def only_probes(self, now: float, rate_per_s: float | None) -> bool:
        """Return whether only probes may go out, at that limit in requests per second (None: no limit)."""
        if self.opened_at is None:
            return False
        enough = MAX_ASKED if rate_per_s is None else max(MIN_ASKED, min(MAX_ASKED, int(rate_per_s * 60)))
        lasts_s = max(PROBES_ONLY_S, 6 * _max_pause_s(rate_per_s))
        return self.asked >= enough and now - self.opened_at < lasts_s

    def probe_sent(self, now: float, rate_per_s: float | None) -> None:
        """Record that a probe goes out now; the next one waits for half the time that the trouble has lasted."""
        is_new = self.opened_at is not None and now - self.opened_at < PROBES_ONLY_S
        longest_s = max(_max_pause_s(rate_per_s), 0.0 if is_new else LATER_PROBE_PAUSE_S)
        self.next_probe_at = now + min(longest_s, max(MIN_PROBE_PAUSE_S, (now - self._trouble_since) / 2))

    def probe_is_ready(self, now: float) -> None:
        """Record that a probe found its task READY: the result of the same task may be retrieved at once."""
        self.listed(now)
        self.probe_goes_on(now)

    def probe_goes_on(self, now: float) -> None:
        """Record that the answer to a probe needs a second request: it may go out at once."""
        if self.is_open:
            self.next_probe_at = now

    def _good(self, now: float) -> bool:
        self._well_at = self._good_at = now
        self._doubted_in_a_row.clear()
        was_open, self.opened_at = self.is_open, None
        if was_open:
            self._window.clear()
            self._doubted_before = set(self._doubted)
            self._closed_at = now
        return was_open

    def _open_if_most_are_doubted(self, now: float) -> None:
        doubted = sum(self._window.values())
        are_most = doubted >= MIN_DOUBTED_TASKS and doubted * 2 > len(self._window)
        if not self.is_open and (are_most or self.asked >= MIN_DOUBTED_TASKS):
            is_again = now - self._closed_at < AGAIN_S
            self.opened_at = now
            self._trouble_since = self._trouble_since if is_again else now
            self.next_probe_at = now + max(MIN_PROBE_PAUSE_S, (now - self._trouble_since) / 2)


def _max_pause_s(rate_per_s: float | None) -> float:
    return MAX_PROBE_PAUSE_S if not rate_per_s else max(MAX_PROBE_PAUSE_S, PROBE_SHARE_REQUESTS / rate_per_s)
