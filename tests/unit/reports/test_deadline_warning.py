import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.planning.feasibility import Budget, Deadlines, QuotaBalance, assess
from harvester.domain.tasks.task import DAY_MS
from harvester.reports.deadline_warning import deadline_warning, shown_rate

NOW = 1_760_000_000_000
MINUTE_MS = 60_000
IN_A_WEEK = NOW + 7 * DAY_MS
FIFTY_A_DAY = 50 / 86_400


def said(deadlines: Deadlines, budget: Budget) -> str | None:
    return deadline_warning(assess(deadlines, NOW, budget, requests_per_task=1.0))


def test_it_says_what_will_be_lost_what_is_needed_and_what_to_do() -> None:
    assert said([(IN_A_WEEK, 2000)], Budget(FIFTY_A_DAY, FIFTY_A_DAY)) == (
        "At 50 requests a day about 1,650 of these 2,000 tasks will expire; 12 requests an hour are needed. "
        "Raise rate.requests_per_minute to 0.2 if your plan allows it; else ask TwelveLabs for a larger one."
    )


def test_where_the_api_allows_no_more_raising_the_setting_is_no_remedy() -> None:
    sentence = said([(IN_A_WEEK, 2000)], Budget(1.0, 1.0, QuotaBalance(50, NOW + DAY_MS, 50, DAY_MS)))

    assert sentence is not None
    assert sentence.startswith("At 50 requests a day about 1,650 of these 2,000 tasks will expire; 12 requests an hour")
    assert sentence.endswith("are needed. The API allows no more: ask TwelveLabs for a larger plan.")


def test_a_budget_that_suffices_gives_nothing_to_say() -> None:
    assert said([(IN_A_WEEK, 2000)], Budget(1.0, 1.0)) is None
    assert said([(NOW - 1, 5)], Budget(1.0, 1.0)) is None


def test_where_no_rate_helps_none_is_asked_for() -> None:
    blocked = Budget(1.0, 1.0, resumes_ms=NOW + DAY_MS)

    assert said([(NOW + MINUTE_MS, 3), (IN_A_WEEK, 7)], blocked) == (
        "About 3 of these 10 tasks will expire: the deadline is too near for a higher rate to help."
    )


@pytest.mark.parametrize(("left", "says"), [(0, "no requests are"), (1, "1 request is"), (4, "4 requests are")])
def test_where_the_quota_is_used_up_too_early_it_says_so(left: int, says: str) -> None:
    budget = Budget(1.0, 1.0, QuotaBalance(left, NOW + DAY_MS, 1000, DAY_MS))

    assert said([(NOW + 60 * MINUTE_MS, 10)], budget) == (
        f"{'All' if left == 0 else f'About {10 - left}'} of these 10 tasks will expire: "
        f"{says} left until the quota is renewed."
    )


def test_where_a_rate_helps_only_some_it_says_so() -> None:
    sentence = said([(NOW + MINUTE_MS, 3), (NOW + 60 * MINUTE_MS, 101)], Budget(1 / 60, 1 / 60))

    assert sentence is not None
    assert "1.7 requests a minute are needed to save all but 3." in sentence


def test_rounding_never_tells_of_more_tasks_than_there_are() -> None:
    sentence = said([(NOW + 60 * MINUTE_MS, 1000)], Budget(1 / 86_400))

    assert sentence is not None
    assert sentence.startswith("At 1 request a day about 999 of these 1,000 tasks will expire")


def test_all_of_them_and_a_single_one_have_words_of_their_own() -> None:
    blocked = Budget(1.0, 1.0, resumes_ms=NOW + DAY_MS)

    assert said([(NOW + MINUTE_MS, 1)], blocked) == (
        "The task will expire: the deadline is too near for a higher rate to help."
    )
    assert said([(NOW + MINUTE_MS, 200)], blocked) == (
        "All of these 200 tasks will expire: the deadline is too near for a higher rate to help."
    )


@pytest.mark.parametrize(
    ("per_s", "words"),
    [
        (1.0, "60 requests a minute"),
        (1 / 60, "1 request a minute"),
        (2.5 / 60, "2.5 requests a minute"),
        (1 / 61, "59 requests an hour"),
        (10 / 3600, "10 requests an hour"),
        (FIFTY_A_DAY, "50 requests a day"),
        (0.0347 / 60, "50 requests a day"),
        (0.4 / 86_400, "0.4 requests a day"),
        (5000.0, "300,000 requests a minute"),
    ],
)
def test_a_rate_is_shown_in_the_unit_that_makes_a_handy_number(per_s: float, words: str) -> None:
    assert shown_rate(per_s) == words


@given(st.floats(1e-6, 1e4))
def test_a_needed_rate_is_never_shown_too_low(per_s: float) -> None:
    number, _, unit = shown_rate(per_s, round_up=True).partition(" request")
    seconds = {"minute": 60, "hour": 3600, "day": 86_400}[unit.rpartition(" ")[2]]
    exact = per_s * seconds

    assert exact - 1e-5 <= float(number.replace(",", "")) <= exact + 1


@given(st.integers(2, 1_000_000), st.floats(1e-6, 10))
def test_the_setting_that_is_recommended_saves_everything(count: int, per_s: float) -> None:
    sentence = said([(IN_A_WEEK, count)], Budget(per_s, per_s))
    if sentence is not None:
        (setting,) = re.findall(r"requests_per_minute to ([\d.]+) ", sentence)
        assert said([(IN_A_WEEK, count)], Budget(float(setting) / 60, float(setting) / 60)) is None
