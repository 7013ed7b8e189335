"""Decide when a request may go out: by one bucket for all requests, and by the limits of each endpoint.

Times are monotonic seconds unless a name ends in `_ms`, which is Unix milliseconds.
"""

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Bucket, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.endpoint_limiter import EndpointLimiter
from harvester.domain.limits.endpoint_state import EndpointBudget, EndpointState, SentSince
from harvester.domain.limits.quotas import WINDOWS_S, Quota, Sending
from harvester.domain.planning.feasibility import Budget, Deadlines


class Pacer:
    """Paces requests by one bucket for all of them and by the limits of each endpoint.

    The configured rate is a ceiling; reports of the API only make it slower.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._bucket = Bucket(limit)
        self._limiters = {endpoint: EndpointLimiter(limit.requests_per_minute) for endpoint in POLL_ENDPOINTS}

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        return self._bucket.limit

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints with limits of their own."""
        return tuple(self._limiters)

    def change_limit(self, limit: RateLimit, now: float) -> None:
        """Replace the configured ceiling; the next request follows the last one at the new rate."""
        self._bucket.limit = limit
        self._bucket.arrival = min(self._bucket.arrival, now + limit.tolerance_s + limit.interval_s)
        for limiter in self._limiters.values():
            limiter.ceiling = limit.requests_per_minute

    def start_at(self, arrival: float) -> None:
        """Set the theoretical arrival time of the next request at the configured rate: a burst may precede it."""
        self._bucket.arrival = arrival

    def ready_at(self) -> float:
        """Return the earliest time at which a request conforms to the configured rate."""
        return self._bucket.ready_at()

    def snapshot(self, endpoint: Endpoint, now: float) -> EndpointState:
        """Return the known limits of one of `endpoints`. Raises KeyError for another endpoint."""
        return self._limiters[endpoint].snapshot(now)

    def restore(self, endpoint: Endpoint, state: EndpointState, now: float) -> None:
        """Adopt the limits that another process knows of an endpoint; ignored unless it is one of `endpoints`."""
        if endpoint in self._limiters:
            self._limiters[endpoint].restore(state, now)

    def sent_since(self, endpoint: Endpoint, number: int, now: float) -> SentSince:
        """Return the requests after the one with that number, without those before the last cut."""
        return self._limiter(endpoint).sent_since(number, now)

    def learn_quota(self, endpoint: Endpoint, quota: Quota) -> None:
        """Adopt a quota that the API has stated."""
        self._limiter(endpoint).quota = quota

    def learned_rate(self, endpoint: Endpoint, now: float) -> float | None:
        """Return the cut rate per minute of an endpoint, None while none is in force."""
        return self._limiter(endpoint).rate(now)

    def endpoint_wait_s(self, endpoint: Endpoint, now: float) -> float:
        """Return the seconds that a request must wait because of its endpoint's own limits."""
        return self._limiter(endpoint).wait_s(now)

    def wait_s(self, endpoint: Endpoint, now: float) -> float:
        """Return the seconds that a request to that endpoint must wait; 0 means it may go out."""
        return max(0.0, self._bucket.ready_at() - now, self._limiter(endpoint).wait_s(now))

    def blocked_s(self, endpoint: Endpoint, now: float) -> float:
        """Return the seconds for which that endpoint is still blocked."""
        return self._limiter(endpoint).blocked_s(now)

    def take(self, endpoint: Endpoint, now: float) -> Sending:
        """Account for a request that goes out now."""
        self._bucket.take(now)
        return self._limiter(endpoint).take(now)

    def accepted(self, endpoint: Endpoint, report: LimitReport, now: float, sending: Sending | None = None) -> None:
        """Learn from an answer that was not a 429; without `sending` the request was sent just now."""
        limiter = self._limiter(endpoint)
        limiter.accepted(report, sending or Sending(now, limiter.sends.count), now)

    def throttled(self, endpoint: Endpoint, report: LimitReport, now: float, sending: Sending | None = None) -> None:
        """Learn from a 429."""
        limiter = self._limiter(endpoint)
        limiter.throttled(report, sending or Sending(now, limiter.sends.count), now)

    def block(self, endpoint: Endpoint, seconds: float, now: float) -> None:
        """Block that endpoint for `seconds`, as another process learned; MAX_BLOCK_S guards against a jumped clock."""
        if seconds > 0:
            self._limiter(endpoint).block(seconds, now)

    def rate_per_s(self, now: float) -> float | None:
        """Return the sustained rate at which results can be retrieved: requests per second, None if unlimited."""
        return self.results_budget(now, 0).rate_per_s

    def results_budget(self, now: float, now_ms: int) -> Budget:
        """Return the budget for retrievals from now on; `now_ms` is the present in Unix milliseconds."""
        limiter, setting = self._limiter(Endpoint.RETRIEVE), self.limit.requests_per_minute
        resumes_s = max(0.0, self._bucket.ready_at() - now, limiter.wait_s(now, is_pressing=True))
        return Budget(
            pace_per_s=min((rate / 60 for rate in (setting, limiter.rate(now)) if rate), default=None),
            setting_per_s=setting / 60 or None,
            balance=limiter.balance(now, now_ms, resumes_s),
            resumes_ms=now_ms + round(resumes_s * 1000),
        )

    def press(self, deadlines: Deadlines, now: float, now_ms: int) -> None:
        """Count the open tasks that expire before a quota is renewed: their requests do not wait for the reserve.

        The list has no such requests: no deadline depends on one page.
        """
        for endpoint, limiter in self._limiters.items():
            if endpoint is not Endpoint.LIST:
                limiter.press(deadlines, now, now_ms)

    def has_quota_of_day(self, now: float) -> bool:
        """Return whether a quota of a day, or of longer, is known for any endpoint."""
        quotas = [self.budget(endpoint, now).quota for endpoint in self.endpoints]
        return any(quota is not None and quota.window_s >= WINDOWS_S[-1] for quota in quotas)

    def budget(self, endpoint: Endpoint, now: float) -> EndpointBudget:
        """Return the limits of that endpoint for reports."""
        return self._limiter(endpoint).budget(now)

    def _limiter(self, endpoint: Endpoint) -> EndpointLimiter:
        """Return the limiter of one of POLL_ENDPOINTS. Raises KeyError for another endpoint."""
        return self._limiters[endpoint]
