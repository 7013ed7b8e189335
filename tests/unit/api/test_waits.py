"""For how long an answer asks us to wait, in every place and unit."""

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.waits import body_retry_after_s, retry_after_s, seconds

NOW = 1_760_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (20, 20.0),
        ("20", 20.0),
        ("20s", 20.0),
        ("20 seconds", 20.0),
        ("500ms", 0.5),
        ("250 milliseconds", 0.25),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("2 minutes", 120.0),
        ("1 hour", 3600.0),
        ("PT20S", 20.0),
        ("20, 20", 20.0),
        ("20; comment=maintenance", 20.0),
        (-5, 0.0),
        (NOW + 30, 30.0),
        ((NOW + 30) * 1000, 30.0),
        (str((NOW + 30) * 1000), 30.0),
        ("2025-10-09T08:53:50Z", 30.0),
        ("2025-10-09T10:53:50+02:00", 30.0),
        ("2025-10-09T08:53:50", 30.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        ("Thu Oct  9 08:53:50 2025", 30.0),
        ("soon", None),
        ("", None),
        ("s", None),
        ("20 parsecs", None),
        ("nan", None),
        ("9" * 400, None),
        (10**400, None),
        (None, None),
        (True, None),
        ([20], None),
    ],
)
def test_a_wait_is_read_in_each_form(value: object, expected: float | None) -> None:
    assert seconds(value, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"x-retry-after": "20"}, 20.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": str((NOW + 30) * 1000)}, 30.0),
        ({"retry-after": "1", "retry-after-ms": "2500"}, 2.5),
        ({"retry-after": "soon", "x-retry-after": "3"}, 3.0),
        ({}, None),
    ],
)
def test_the_longest_wish_of_the_headers_counts(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.parametrize(
    ("document", "message", "expected"),
    [
        ({"retry_after": 20}, None, 20.0),
        ({"retryAfter": "20s"}, None, 20.0),
        ({"retry_after_seconds": 20}, None, 20.0),
        ({"retry_after_ms": 1500}, None, 1.5),
        ({"error": {"details": [{"retryDelay": "20s"}]}}, None, 20.0),
        ({"retry_after": "soon"}, "Try again in 20 seconds.", 20.0),
        ({}, "Please try again later after 2025-10-09T08:53:50Z.", 30.0),
        ({}, "Rate limit reached. Please try again in 1m30.5s.", 90.5),
        ({}, "try again in 500ms", 0.5),
        ({}, f"retry after {(NOW + 30) * 1000}", 30.0),
        ({}, "Please wait 5 minutes.", 300.0),
        ({}, "Back at 2025-10-09T08:53:50Z", 30.0),
        ({}, "The video lasts longer than allowed in 2 hours.", None),
        ({}, "Please try again later.", None),
        ({}, None, None),
    ],
)
def test_a_wish_is_found_in_a_body(document: dict[str, Any], message: str | None, expected: float | None) -> None:
    assert body_retry_after_s(document, message, NOW) == expected


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=3))
def test_no_text_makes_it_raise(message: str, document: dict[str, str]) -> None:
    for wait in (seconds(message, NOW), body_retry_after_s(document, f"retry in {message}", NOW)):
        assert wait is None or wait >= 0
