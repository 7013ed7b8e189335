"""When may a request of a class go out? One bucket for all, and for each class what the API has taught about it."""

import math
from dataclasses import dataclass, field

from harvester.domain.limits.aimd import MIN_MEASURED, AimdController
from harvester.domain.limits.endpoint import (
    MAX_BLOCK_S,
    MAX_GUESSED_BLOCK_S,
    MIN_BLOCK_S,
    POLL_ENDPOINTS,
    Bucket,
    Endpoint,
    LimitReport,
    RateLimit,
)
from harvester.domain.limits.endpoint_state import EndpointState, OpenWindow, SentSince
from harvester.domain.limits.quotas import LATELY_S, WINDOWS_S, Quota, Sending, SendLog, Window, infer_quota
from harvester.domain.planning.feasibility import Budget, Deadlines, QuotaBalance

CLOCK_ROUNDING_S = 0.01
"""Two readings of the wall clock and the monotonic one do not agree to the millisecond."""


@dataclass(slots=True)
class EndpointLimiter:
    """One class of requests: until when it is blocked, its quota, and its own bucket while it has a learned rate.

    `ceiling` is the configured rate per minute (0: none). `sent_before_cut` requests went out at another rate.
    `pressing` requests cannot wait for the end of the window.
    """

    ceiling: float
    until: float = 0.0
    refusals: int = 0
    quota: Quota | None = None
    sends: SendLog = field(default_factory=SendLog)
    window: Window = field(default_factory=Window)
    adapting: AimdController = field(default_factory=AimdController)
    arrival: float = -math.inf
    accepted_at: float = -math.inf
    sent_before_cut: int = 0
    pressing: int = 0

    def rate(self, now: float) -> float | None:
        """Return the learned rate per minute, None while there is none in force."""
        learned = self.adapting.learned
        return None if learned is None else learned.at(now, self._ceiling())

    def wait_s(self, now: float, *, is_pressing: bool = False) -> float:
        """Return how long this class must wait, whatever the others have sent; `is_pressing`: with what cannot wait."""
        is_pressing = is_pressing or self.pressing > 0
        due_at = max(self.until, self.window.due_at(self.sends, self.quota, now, is_pressing=is_pressing))
        if self.rate(now) is not None:
            due_at = max(due_at, self.arrival)
        return max(0.0, due_at - now)

    def take(self, now: float) -> Sending:
        """Account for a request that goes out now."""
        rate = self.rate(now)
        if rate is not None:
            self.arrival = max(self.arrival, now) + 60.0 / rate
        self.pressing = max(0, self.pressing - 1)
        return self.sends.add(now)

    def accepted(self, report: LimitReport, sending: Sending, now: float) -> None:
        """Learn from an answer that was not a 429: an exhausted window blocks until its reset."""
        self._note_quota(report)
        self.accepted_at = now
        # What was sent before a refusal says nothing about the time after it.
        if sending.at >= self.until:
            self.refusals = 0
            self.adapting.succeeded()
        if report.remaining is not None and report.reset_s is not None:
            ends_at = now + min(MAX_BLOCK_S, max(0.0, report.reset_s))
            self.window.note(report.limit, report.remaining, ends_at, sending)
            if report.remaining <= 0:
                self.block(report.reset_s, now)

    def refused(self, report: LimitReport, sending: Sending, now: float) -> None:
        """Learn from a 429: wait as told by `Retry-After`, else until the reset, else 1 s doubling to 5 min."""
        self._note_quota(report)
        self.window.close(sending)
        # Requests that were under way together when the window closed are one refusal.
        is_new = sending.at >= self.until
        if is_new:
            self.refusals += 1
        guess = min(MAX_GUESSED_BLOCK_S, MIN_BLOCK_S * 2 ** min(max(0, self.refusals - 1), 20))
        told = report.retry_after_s if report.retry_after_s is not None else report.reset_s
        # A server that keeps saying "at once" and refuses again is answered ever more slowly.
        self.block(guess if told is None or told <= MIN_BLOCK_S else told, now)
        if is_new:
            self._cut(is_told=told is not None, now=now)

    def allowance(self, now: float, now_ms: int, resumes_s: float) -> QuotaBalance | None:
        """Return how the quota goes on, None without one: a window that is not open opens with the next request."""
        if self.quota is None or self.quota.limit <= 0:
            return None
        left, renews_s = self.window.left(self.sends, now), self.window.ends_at - now
        if left is None:
            left, renews_s = self.quota.limit, resumes_s + self.quota.window_s
        window_ms = self.quota.window_s * 1000
        return QuotaBalance(max(0, left), now_ms + round(renews_s * 1000), self.quota.limit, window_ms)

    def snapshot(self, now: float) -> EndpointState:
        """Return what is known at `now`; `window` is None where none is open."""
        left = self.window.left(self.sends, now)
        window = None if left is None else OpenWindow(left, self.window.ends_at, self.window.told.at)
        return EndpointState(self.quota, window, self.adapting.learned, self.arrival)

    def restore(self, state: EndpointState, now: float) -> None:
        """Adopt what another process knows; a window only if it is as of later, an arrival only if it is later."""
        if state.quota is not None:
            self.quota = state.quota
        if state.window is not None:
            self._restore_window(state.window)
        if state.learned is not None:
            self.adapting.adopt(state.learned, now)
        self.arrival = max(self.arrival, state.arrival)

    def sent_since(self, number: int, now: float) -> SentSince:
        """Return what was sent after the request of that number, without those that went out before the last cut."""
        after = max(number, self.sent_before_cut)
        return SentSince(self.sends.after(after, now), self.sends.first_after(after, now), self.sends.count)

    def block(self, seconds: float, now: float) -> None:
        """Keep this class away for a time."""
        self.until = max(self.until, now + min(MAX_BLOCK_S, max(MIN_BLOCK_S, seconds)))

    def _restore_window(self, window: OpenWindow) -> None:
        if self.quota is not None and window.as_of > self.window.told.at + CLOCK_ROUNDING_S:
            sending = Sending(window.as_of, self.sends.count - self.sends.since(window.as_of))
            self.window.note(self.quota.limit, window.remaining, window.ends_at, sending)

    def _note_quota(self, report: LimitReport) -> None:
        if report.limit is not None and report.reset_s is not None:
            self.quota = infer_quota(self.quota, report.limit, report.reset_s)

    def _cut(self, *, is_told: bool, now: float) -> None:
        present = self.rate(now)
        if present is None:
            # A start that nothing was accepted of met a storm, which tells nothing of how much is let through.
            has_accepted = now - self.accepted_at <= LATELY_S
            measured = self.sends.lately(now) if has_accepted else self.sends.per_minute(now)
            known = [rate for rate in (self._ceiling(), measured if measured >= MIN_MEASURED else 0.0) if rate > 0]
            present = min(known, default=float(MIN_MEASURED))
        if self.adapting.refused(is_told=is_told, present=present, until=self.until, now=now):
            self.arrival = now
            self.sent_before_cut = self.sends.count

    def _ceiling(self) -> float:
        """Return the highest rate per minute that a climb can reach; 0 if nothing limits it.

        The quota of a day is none: it may be used up in an hour.
        """
        rates = [self.ceiling]
        if self.quota is not None and self.quota.window_s <= WINDOWS_S[0]:
            rates.append(self.quota.per_minute)
        return min((rate for rate in rates if rate > 0), default=0.0)


@dataclass(frozen=True, slots=True)
class ClassBudget:
    """What a class of requests may spend, to be shown; None is unknown or not in force.

    `configured_per_minute` (0: unlimited) is that of all classes together. `remaining` and `reset_s` are of the open
    window, as the API told last.
    """

    configured_per_minute: float
    learned_per_minute: float | None
    quota: Quota | None
    remaining: int | None
    reset_s: float | None
    blocked_s: float


class Pacer:
    """One bucket for all requests, and a pace for each class.

    The configured rate is a ceiling; what the API reports only ever makes it slower. Without a call of its own for the
    status, that is a retrieval.
    """

    def __init__(self, limit: RateLimit, *, has_status_call: bool = True) -> None:
        self._bucket = Bucket(limit)
        self._paces = {
            endpoint: EndpointLimiter(limit.requests_per_minute)
            for endpoint in POLL_ENDPOINTS
            if has_status_call or endpoint is not Endpoint.STATUS
        }

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        return self._bucket.limit

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints with limits of their own."""
        return tuple(self._paces)

    def change_limit(self, limit: RateLimit, now: float) -> None:
        """Replace the configured ceiling: the next request follows the last at the new rate, however low the old."""
        self._bucket.limit = limit
        self._bucket.arrival = min(self._bucket.arrival, now + limit.tolerance_s + limit.interval_s)
        for pace in self._paces.values():
            pace.ceiling = limit.requests_per_minute

    def start_at(self, arrival: float) -> None:
        """Set the theoretical arrival time of the next request at the configured rate: a burst may precede it."""
        self._bucket.arrival = arrival

    def ready_at(self) -> float:
        """Return the earliest time at which a request conforms to the configured rate."""
        return self._bucket.ready_at()

    def snapshot(self, endpoint: Endpoint, now: float) -> EndpointState:
        """Return what is known of the limits of one of `endpoints`. Raises KeyError for another endpoint."""
        return self._paces[endpoint].snapshot(now)

    def restore(self, endpoint: Endpoint, state: EndpointState, now: float) -> None:
        """Adopt what another process knows of the limits of an endpoint; ignored unless it is one of `endpoints`."""
        if endpoint in self._paces:
            self._paces[endpoint].restore(state, now)

    def sent_since(self, endpoint: Endpoint, number: int, now: float) -> SentSince:
        """Return what was sent after the request of that number, without those that went out before the last cut."""
        return self._pace(endpoint).sent_since(number, now)

    def learn_quota(self, endpoint: Endpoint, quota: Quota) -> None:
        """Adopt a quota that the API has stated."""
        self._pace(endpoint).quota = quota

    def learned_rate(self, endpoint: Endpoint, now: float) -> float | None:
        """Return the cut rate per minute of an endpoint, None while none is in force."""
        return self._pace(endpoint).rate(now)

    def class_wait_s(self, endpoint: Endpoint, now: float) -> float:
        """Return how long a request of that class must wait, whatever the others have sent."""
        return self._pace(endpoint).wait_s(now)

    def wait_s(self, endpoint: Endpoint, now: float) -> float:
        """Return how long a request of that class must wait; 0 means it may go out."""
        return max(0.0, self._bucket.ready_at() - now, self._pace(endpoint).wait_s(now))

    def blocked_s(self, endpoint: Endpoint, now: float) -> float:
        """Return how long the API has asked that class to stay away."""
        return max(0.0, self._pace(endpoint).until - now)

    def take(self, endpoint: Endpoint, now: float) -> Sending:
        """Account for a request that goes out now."""
        self._bucket.take(now)
        return self._pace(endpoint).take(now)

    def accepted(self, endpoint: Endpoint, report: LimitReport, now: float, sending: Sending | None = None) -> None:
        """Learn from an answer that was not a 429; without `sending` the request was sent just now."""
        pace = self._pace(endpoint)
        pace.accepted(report, sending or Sending(now, pace.sends.count), now)

    def refused(self, endpoint: Endpoint, report: LimitReport, now: float, sending: Sending | None = None) -> None:
        """Learn from a 429."""
        pace = self._pace(endpoint)
        pace.refused(report, sending or Sending(now, pace.sends.count), now)

    def block(self, endpoint: Endpoint, seconds: float, now: float) -> None:
        """Keep that class away for a time, as another process was told; a clock that jumped cannot make it long."""
        if seconds > 0:
            self._pace(endpoint).block(seconds, now)

    def rate_per_s(self, now: float) -> float | None:
        """Return the sustained rate at which results can be retrieved: requests per second, None if unlimited."""
        return self.results_budget(now, 0).rate_per_s

    def results_budget(self, now: float, now_ms: int) -> Budget:
        """Return what may be spent on results from now on: nothing is saved without a retrieval.

        `now_ms` is the present in Unix milliseconds.
        """
        pace, setting = self._pace(Endpoint.RETRIEVE), self.limit.requests_per_minute
        resumes_s = max(0.0, self._bucket.ready_at() - now, pace.wait_s(now, is_pressing=True))
        return Budget(
            pace_per_s=min((rate / 60 for rate in (setting, pace.rate(now)) if rate), default=None),
            setting_per_s=setting / 60 or None,
            allowance=pace.allowance(now, now_ms, resumes_s),
            resumes_ms=now_ms + round(resumes_s * 1000),
        )

    def press(self, deadlines: Deadlines, now: float, now_ms: int) -> None:
        """Take note of how many open tasks expire before what is left of a quota is renewed: nothing is spread then.

        Their results are retrieved first. Of the list nobody has to ask before a deadline.
        """
        for endpoint, pace in self._paces.items():
            if endpoint is not Endpoint.LIST:
                ends_ms = now_ms + (pace.window.ends_at - now) * 1000
                pace.pressing = sum(count for at_ms, count in deadlines if now_ms < at_ms <= ends_ms)

    def budget(self, endpoint: Endpoint, now: float) -> ClassBudget:
        """Return what that class may spend."""
        pace = self._pace(endpoint)
        is_open = now < pace.window.ends_at
        return ClassBudget(
            configured_per_minute=self.limit.requests_per_minute,
            learned_per_minute=pace.rate(now),
            quota=pace.quota,
            remaining=pace.window.remaining if is_open else None,
            reset_s=pace.window.ends_at - now if is_open else None,
            blocked_s=self.blocked_s(endpoint, now),
        )

    def _pace(self, endpoint: Endpoint) -> EndpointLimiter:
        """Return the pace of one of POLL_ENDPOINTS. Raises KeyError for another endpoint."""
        is_joint = endpoint is Endpoint.STATUS and endpoint not in self._paces
        return self._paces[Endpoint.RETRIEVE if is_joint else endpoint]
