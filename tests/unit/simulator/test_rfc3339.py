import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator.rfc3339 import format_ms, format_s, parse_ms


def test_the_documented_creation_time_is_written_with_milliseconds() -> None:
    assert format_ms(1727346559968) == "2024-09-26T10:29:19.968Z"


def test_the_documented_reset_is_written_without_a_fraction() -> None:
    assert format_s(1762564849) == "2025-11-08T01:20:49Z"


@given(st.integers(0, 2**32 * 1000 - 1))
def test_what_is_written_is_read_back(unix_ms: int) -> None:
    assert parse_ms(format_ms(unix_ms)) == unix_ms


def test_a_zone_other_than_utc_is_understood() -> None:
    assert parse_ms("2024-09-26T12:29:19.968+02:00") == 1727346559968


@pytest.mark.parametrize(
    "text", ["", "2024-09-26", "2024-09-26T10:29:19", "2024-W39-4T10:29:19Z", "2024-13-01T00:00:00Z", "now"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the standard library words some of them
        parse_ms(text)
