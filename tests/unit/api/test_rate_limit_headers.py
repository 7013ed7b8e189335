from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.rate_limit_headers import api_time_s, read_limits, reported_quota
from harvester.domain.limits.endpoint import LimitReport
from harvester.domain.limits.quotas import Quota

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOW = 1_760_000_000
DATE = {"date": formatdate(NOW, usegmt=True)}


def documented_headers() -> dict[str, str]:
    head = (FIXTURES / "error_429.http").read_text().partition("\n\n")[0]
    return dict(line.split(": ", 1) for line in head.splitlines()[1:])


@pytest.mark.parametrize("wrong_by_s", [0, 86_400, -86_400, 3.0e8])
def test_the_documented_refusal_is_understood_whatever_this_clock_says(wrong_by_s: float) -> None:
    report = read_limits(documented_headers(), 1_762_553_467 + wrong_by_s)
    assert report == LimitReport(remaining=0, reset_s=11_382.0, retry_after_s=11_382.0, limit=100)


@pytest.mark.parametrize("prefix", ["x-ratelimit", "x-ratelimit-request"])
@pytest.mark.parametrize(
    ("reset", "reset_s"),
    [(str(NOW + 60), 60.0), ("60", 60.0), ("0.5", 0.5), ("0", 0.0), ("-3", 0.0), (str(NOW - 5), 0.0), ("soon", None)],
)
def test_both_schemes_are_understood(prefix: str, reset: str, reset_s: float | None) -> None:
    headers = DATE | {f"{prefix}-remaining": "7", f"{prefix}-reset": reset}
    assert read_limits(headers, NOW) == LimitReport(7, reset_s, None)


@pytest.mark.parametrize("prefix", ["x-ratelimit", "x-ratelimit-request"])
@pytest.mark.parametrize(
    ("limit_text", "limit"), [("100", 100), ("1", 1), ("0", None), ("-1", None), ("9" * 30, None), ("many", None)]
)
def test_the_limit_is_read_in_both_schemes(prefix: str, limit_text: str, limit: int | None) -> None:
    headers = DATE | {f"{prefix}-remaining": "7", f"{prefix}-reset": "60", f"{prefix}-limit": limit_text}
    assert read_limits(headers, NOW) == LimitReport(7, 60.0, None, limit)


@pytest.mark.parametrize(
    ("message", "quota"),
    [
        ("You have exceeded the rate limit (100req/1day). Please try again later.", Quota(100, 86_400)),
        ("limit (8req/1minute)", Quota(8, 60)),
        ("50 requests per hour", Quota(50, 3_600)),
        ("50 Requests / 2 Hours", Quota(50, 7_200)),
        ("1req/30seconds", Quota(1, 30)),
        ("0req/1day", None),
        ("8req/0minute", None),
        ("8req/2days", None),
        ("8req/1month", None),
        ("99999999999req/1day", None),
        ("Too many requests.", None),
        ("", None),
    ],
)
def test_a_refusal_may_name_the_quota(message: str, quota: Quota | None) -> None:
    assert reported_quota(message) == quota


@given(st.text() | st.from_regex(r"[0-9]*req/[0-9]*(minute|day)"))
def test_whatever_a_message_says_a_quota_is_at_least_one_request_in_at_most_a_day(message: str) -> None:
    quota = reported_quota(message)
    assert quota is None or (quota.limit >= 1 and 1 <= quota.window_s <= 86_400)


def test_the_dimension_of_requests_counts_and_not_that_of_minutes_of_video() -> None:
    headers = DATE | {
        "x-ratelimit-dimensions": "Duration,Request",
        "x-ratelimit-duration-remaining": "0",
        "x-ratelimit-duration-reset": "9999",
        "x-ratelimit-request-remaining": "5",
        "x-ratelimit-request-reset": "60",
    }
    assert read_limits(headers, NOW) == LimitReport(5, 60.0, None)


def test_names_are_read_in_any_case() -> None:
    headers = {"Date": DATE["date"], "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9", "Retry-After": "9"}
    assert read_limits(headers, 0) == LimitReport(0, 9.0, 9.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("11382", 11_382.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-1", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (str(NOW + 90), 90.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("9" * 400, None),
        ("1e999", None),
        ("Fri, 99 Foo 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert read_limits(DATE | {"retry-after": value}, 0).retry_after_s == seconds


def test_an_absurd_number_of_seconds_is_left_to_the_pacer() -> None:
    assert read_limits(DATE | {"retry-after": "9" * 15}, NOW).retry_after_s == 10**15 - 1 - NOW


@pytest.mark.parametrize("wrong_by_s", [0.0, 86_400.0, -86_400.0])
def test_the_servers_date_overrules_a_wrong_clock(wrong_by_s: float) -> None:
    headers = DATE | {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 30)}
    assert read_limits(headers, NOW + wrong_by_s).reset_s == 30.0


@pytest.mark.parametrize("date", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Fri, 99 Foo 9999 99:99:99 GMT"}])
def test_without_a_usable_date_this_clock_has_to_do(date: dict[str, str]) -> None:
    assert read_limits(date | {"retry-after": str(NOW + 30)}, NOW).retry_after_s == 30.0


def test_the_time_of_the_server_is_that_of_the_date() -> None:
    assert api_time_s({"Date": DATE["date"]}) == NOW
    assert api_time_s({"date": "yesterday"}) is None


@pytest.mark.parametrize(("age", "added_s"), [("90", 90), ("-5", 0), ("soon", 0), ("1e300", 7 * 24 * 3600)])
def test_an_answer_out_of_a_cache_is_as_much_younger_than_its_date_as_the_cache_says(age: str, added_s: int) -> None:
    assert api_time_s(DATE | {"Age": age}) == NOW + added_s


def test_headers_that_say_nothing_report_nothing() -> None:
    assert read_limits({"content-type": "application/json"}, NOW) == LimitReport()


header_values = st.one_of(
    st.text(max_size=40),
    st.text("0123456789+-:., GMTeE", max_size=40),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)


@given(
    st.dictionaries(
        st.sampled_from(["date", "retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"]), header_values
    )
)
def test_no_header_makes_it_raise_or_report_a_time_that_has_passed(headers: dict[str, str]) -> None:
    report = read_limits(headers, NOW)
    assert min(report.reset_s or 0, report.retry_after_s or 0) >= 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "30", "ratelimit-limit": "100, 100;w=60"}, (0, 30.0, 100)),
        ({"ratelimit": "limit=100, remaining=0, reset=30"}, (0, 30.0, 100)),
        ({"ratelimit": '"day";r=0;t=30', "ratelimit-policy": '"day";q=100;w=60'}, (0, 30.0, None)),
        ({"ratelimit-reset": "30"}, (None, 30.0, None)),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(NOW + 30)}, (0, 30.0, None)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str((NOW + 30) * 1000)}, (0, 30.0, None)),
        ({"ratelimit": "nonsense"}, (None, None, None)),
    ],
)
def test_the_drafts_of_others_are_understood(headers: dict[str, str], expected: tuple[object, ...]) -> None:
    report = read_limits(DATE | headers, NOW)
    assert (report.remaining, report.reset_s, report.limit) == expected
