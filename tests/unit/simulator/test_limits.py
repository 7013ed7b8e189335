from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator import SimulatorSettings
from harvester.simulator.limits import Quota, RateLimiter, quota_headers

NOON = 1_700_000_000.0


def limiter(*, per_minute: int = 0, per_day: int = 0) -> RateLimiter:
    return RateLimiter(SimulatorSettings(requests_per_minute=per_minute, requests_per_day=per_day))


@given(
    limit=st.integers(1, 6),
    pauses=st.lists(st.floats(0, 40, allow_nan=False), max_size=80),
)
def test_no_window_ever_lets_more_than_its_limit_through(limit: int, pauses: list[float]) -> None:
    subject, now, opened_at, passed = limiter(per_minute=limit), NOON, NOON, 0
    subject_opened = False
    for pause in pauses:
        now += pause
        if not subject_opened or now >= opened_at + 60:
            opened_at, passed, subject_opened = now, 0, True
        passed += subject.admit(now).admitted
        assert passed <= limit


@given(
    per_minute=st.integers(0, 5),
    per_day=st.integers(0, 12),
    pauses=st.lists(st.floats(0, 50_000, allow_nan=False), max_size=60),
)
def test_a_request_after_the_stated_wait_is_admitted(per_minute: int, per_day: int, pauses: list[float]) -> None:
    subject, now = limiter(per_minute=per_minute, per_day=per_day), NOON
    for pause in pauses:
        now += pause
        admission = subject.admit(now)
        if not admission.admitted:
            assert admission.retry_after_s >= 1
            now += admission.retry_after_s
            assert subject.admit(now).admitted


def test_without_a_limit_nothing_is_reported() -> None:
    admission = limiter().admit(NOON)
    assert (admission.admitted, quota_headers(admission.quota, "older")) == (True, {})


def test_the_window_opens_with_the_first_request_and_not_on_the_minute() -> None:
    subject = limiter(per_minute=1)
    subject.admit(NOON + 50)
    assert subject.admit(NOON + 109).retry_after_s == 1
    assert subject.admit(NOON + 110).admitted


def test_a_refused_request_is_not_counted() -> None:
    subject = limiter(per_minute=1, per_day=2)
    for _ in range(5):
        subject.admit(NOON)
    assert subject.admit(NOON + 60).admitted


def test_the_quota_with_the_fewest_requests_left_is_reported() -> None:
    admission = limiter(per_minute=10, per_day=5).admit(NOON)
    assert admission.quota == Quota("5req/1day", limit=5, used=1, resets_at=int(NOON) + 86_400)


def test_a_refusal_names_the_window_that_ends_last() -> None:
    subject = limiter(per_minute=1, per_day=1)
    subject.admit(NOON)
    assert subject.admit(NOON + 0.5).retry_after_s == 86_400


def test_a_clock_that_was_set_back_opens_a_new_window() -> None:
    subject = limiter(per_minute=1)
    subject.admit(NOON)
    assert subject.admit(NOON - 3600).admitted


def test_the_older_scheme_is_the_documented_one() -> None:
    expected = {
        "x-ratelimit-limit": "100",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-used": "100",
        "x-ratelimit-reset": "1762564849",
    }
    assert quota_headers(Quota("100req/1day", 100, 100, 1762564849), "older") == expected


def test_the_newer_scheme_tells_requests_and_seconds_of_media_apart() -> None:
    expected = {
        "x-ratelimit-dimensions": "Duration,Request",
        "x-ratelimit-request-limit": "100",
        "x-ratelimit-request-remaining": "97",
        "x-ratelimit-request-used": "3",
        "x-ratelimit-request-reset": "1762564849",
        "x-ratelimit-duration-limit": "36000",
        "x-ratelimit-duration-remaining": "36000",
        "x-ratelimit-duration-used": "0",
        "x-ratelimit-duration-reset": "1762564849",
    }
    assert quota_headers(Quota("100req/1day", 100, 3, 1762564849), "newer") == expected


def test_the_scheme_tokens_has_a_third_dimension() -> None:
    headers = quota_headers(Quota("100req/1day", 100, 3, 1762564849), "tokens")
    assert headers["x-ratelimit-dimensions"] == "Duration,Request,Token"
    assert (headers["x-ratelimit-request-used"], headers["x-ratelimit-token-used"]) == ("3", "0")
