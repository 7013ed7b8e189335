"""Times that people type, in options and in the Python API."""

import pytest

from harvester.domain.moments import duration_s, moment_ms

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30 min", 1800), ("1.5H", 5400), ("7d", 604_800)],
)
def test_a_number_and_a_unit_are_a_time(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1h", "0", "0d", "5 weeks", "1e3", "9" * 400])
def test_other_texts_and_numbers_beyond_use_are_no_time(text: str) -> None:
    assert duration_s(text) is None
    assert moment_ms(text, 0) is None


def test_a_moment_is_a_date_or_some_time_ago() -> None:
    assert moment_ms("1d", 3 * DAY_MS) == 2 * DAY_MS
    assert moment_ms("9d", 3 * DAY_MS) == 0
    assert moment_ms(" 1970-01-02 ", 0) == moment_ms("1970-01-02T02:00:00+02:00", 0) == DAY_MS
