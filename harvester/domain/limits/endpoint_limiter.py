"""When a request to one endpoint may go out: by the limits that the API showed.

Times are monotonic seconds unless a name ends in `_ms`, which is Unix milliseconds.
"""

import math
from dataclasses import dataclass, field

from harvester.domain.limits.aimd import MIN_MEASURED, AimdController
from harvester.domain.limits.endpoint import MAX_BLOCK_S, MAX_GUESSED_BLOCK_S, MIN_BLOCK_S, LimitReport
from harvester.domain.limits.endpoint_state import EndpointBudget, EndpointState, OpenWindow, SentSince
from harvester.domain.limits.quotas import LATELY_S, WINDOWS_S, Quota, QuotaWindow, Sending, SendLog, infer_quota
from harvester.domain.planning.feasibility import Deadlines, QuotaBalance

CLOCK_ROUNDING_S = 0.01
"""Seconds by which the wall clock and the monotonic clock may disagree when both are read."""


@dataclass(slots=True)
class EndpointLimiter:
    """The limits of one endpoint: until when it is blocked, its quota, and its own bucket while it has a learned rate.

    `ceiling` is the configured rate per minute (0: none). `sent_before_cut` is the number of requests before the last
    cut. `pressing` is the number of requests that cannot wait for the end of the window.
    """

    ceiling: float
    until: float = 0.0
    refusals: int = 0
    quota: Quota | None = None
    sends: SendLog = field(default_factory=SendLog)
    window: QuotaWindow = field(default_factory=QuotaWindow)
    adapting: AimdController = field(default_factory=AimdController)
    arrival: float = -math.inf
    accepted_at: float = -math.inf
    sent_before_cut: int = 0
    pressing: int = 0

    def rate(self, now: float) -> float | None:
        """Return the learned rate per minute, None while none is in force."""
        learned = self.adapting.learned
        return None if learned is None else learned.at(now, self._ceiling())

    def wait_s(self, now: float, *, is_pressing: bool = False) -> float:
        """Return the seconds to wait because of this endpoint's limits; `is_pressing` ignores a quota's reserve."""
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
        # An answer to a request that was sent before a refusal says nothing about the time after it.
        if sending.at >= self.until:
            self.refusals = 0
            self.adapting.succeeded()
        if report.remaining is not None and report.reset_s is not None:
            ends_at = now + min(MAX_BLOCK_S, max(0.0, report.reset_s))
            self.window.note(report.limit, report.remaining, ends_at, sending)
            if report.remaining <= 0:
                self.block(report.reset_s, now)

    def throttled(self, report: LimitReport, sending: Sending, now: float) -> None:
        """Learn from a 429: block as `Retry-After` says, else until the reset, else for 1 s, doubling up to 5 min."""
        self._note_quota(report)
        self.window.close(sending)
        # Refusals of requests that were in flight together count once.
        is_new = sending.at >= self.until
        if is_new:
            self.refusals += 1
        guess = min(MAX_GUESSED_BLOCK_S, MIN_BLOCK_S * 2 ** min(max(0, self.refusals - 1), 20))
        stated_s = report.retry_after_s if report.retry_after_s is not None else report.reset_s
        # With a stated wait of 0 or 1 s use the doubling wait: the server may state it and refuse again for hours.
        self.block(guess if stated_s is None or stated_s <= MIN_BLOCK_S else stated_s, now)
        if is_new:
            self._cut(has_stated_wait=stated_s is not None, now=now)

    def balance(self, now: float, now_ms: int, resumes_s: float) -> QuotaBalance | None:
        """Return what the quota has left, None without one; the next request opens a window if none is open."""
        if self.quota is None or self.quota.limit <= 0:
            return None
        left, renews_s = self.window.left(self.sends, now), self.window.ends_at - now
        if left is None:
            left, renews_s = self.quota.limit, resumes_s + self.quota.window_s
        window_ms = self.quota.window_s * 1000
        return QuotaBalance(max(0, left), now_ms + round(renews_s * 1000), self.quota.limit, window_ms)

    def budget(self, now: float) -> EndpointBudget:
        """Return the limits for reports."""
        is_open = now < self.window.ends_at
        return EndpointBudget(
            configured_per_minute=self.ceiling,
            learned_per_minute=self.rate(now),
            quota=self.quota,
            remaining=self.window.remaining if is_open else None,
            reset_s=self.window.ends_at - now if is_open else None,
            blocked_s=self.blocked_s(now),
        )

    def blocked_s(self, now: float) -> float:
        """Return the seconds for which the endpoint is still blocked."""
        return max(0.0, self.until - now)

    def press(self, deadlines: Deadlines, now: float, now_ms: int) -> None:
        """Count the open tasks that expire before the quota is renewed: their requests do not wait for the reserve."""
        ends_ms = now_ms + (self.window.ends_at - now) * 1000
        self.pressing = sum(count for at_ms, count in deadlines if now_ms < at_ms <= ends_ms)

    def snapshot(self, now: float) -> EndpointState:
        """Return the known limits at `now`; `window` is None if none is open."""
        left = self.window.left(self.sends, now)
        window = None if left is None else OpenWindow(left, self.window.ends_at, self.window.sending.at)
        return EndpointState(self.quota, window, self.adapting.learned, self.arrival)

    def restore(self, state: EndpointState, now: float) -> None:
        """Adopt the limits that another process knows; of windows and arrivals, keep the later one."""
        if state.quota is not None:
            self.quota = state.quota
        if state.window is not None:
            self._restore_window(state.window)
        if state.learned is not None:
            self.adapting.set_rate(state.learned, now)
        self.arrival = max(self.arrival, state.arrival)

    def sent_since(self, number: int, now: float) -> SentSince:
        """Return the requests after the one with that number, without those before the last cut."""
        after = max(number, self.sent_before_cut)
        return SentSince(self.sends.after(after, now), self.sends.first_after(after, now), self.sends.count)

    def block(self, seconds: float, now: float) -> None:
        """Block this endpoint for `seconds`, limited to MIN_BLOCK_S and MAX_BLOCK_S."""
        self.until = max(self.until, now + min(MAX_BLOCK_S, max(MIN_BLOCK_S, seconds)))

    def _restore_window(self, window: OpenWindow) -> None:
        if self.quota is not None and window.as_of > self.window.sending.at + CLOCK_ROUNDING_S:
            sending = Sending(window.as_of, self.sends.count - self.sends.since(window.as_of))
            self.window.note(self.quota.limit, window.remaining, window.ends_at, sending)

    def _note_quota(self, report: LimitReport) -> None:
        if report.limit is not None and report.reset_s is not None:
            self.quota = infer_quota(self.quota, report.limit, report.reset_s)

    def _cut(self, *, has_stated_wait: bool, now: float) -> None:
        present = self.rate(now)
        if present is None:
            # If the API has accepted nothing lately, the count says nothing about its limit: cut this process's rate.
            has_accepted = now - self.accepted_at <= LATELY_S
            measured = self.sends.lately(now) if has_accepted else self.sends.per_minute(now)
            known = [rate for rate in (self._ceiling(), measured if measured >= MIN_MEASURED else 0.0) if rate > 0]
            present = min(known, default=float(MIN_MEASURED))
        if self.adapting.throttled(has_stated_wait=has_stated_wait, present=present, until=self.until, now=now):
            self.arrival = now
            self.sent_before_cut = self.sends.count

    def _ceiling(self) -> float:
        """Return the highest rate per minute that a climb can reach; 0 if nothing limits it.

        The quota of an hour or a day is no ceiling: the window may be used up early.
        """
        rates = [self.ceiling]
        if self.quota is not None and self.quota.window_s <= WINDOWS_S[0]:
            rates.append(self.quota.per_minute)
        return min((rate for rate in rates if rate > 0), default=0.0)
