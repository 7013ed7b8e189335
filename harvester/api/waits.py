"""Read from an answer for how long to wait: from headers, fields of the body and sentences, in all their units.

Results are seconds from now. A time may be a number of seconds, a duration with units (`500ms`, `1m30s`, `20 seconds`),
Unix seconds or milliseconds, an HTTP date or an RFC 3339 time.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

EPOCH_SECONDS = 1_000_000_000
"""Numbers from this on are Unix seconds, smaller ones a number of seconds."""

EPOCH_MILLISECONDS = range(100_000_000_000, 10_000_000_000_000)
"""Numbers in this range are Unix milliseconds, up to the year 2286."""

_UNITS_S = {"ms": 0.001, "milli": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}
_UNIT = r"(ms|milli|sec|s|min|m|hour|h)(?:seconds?|onds?|utes?|[sr]s?)?"
_PART = re.compile(rf"\s*(\d{{1,12}}(?:\.\d{{1,9}})?)\s*{_UNIT}(?![a-z])", re.ASCII | re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\d{10,16}", re.ASCII)
_ASKS = re.compile(r"\b(?:again|retry|wait|back)\b", re.ASCII | re.IGNORECASE)
_TIME_FOLLOWS = re.compile(r"\b(?:after|in|for|until|wait|at)\s+", re.ASCII | re.IGNORECASE)

_HEADERS_S = ("retry-after", "x-retry-after", "x-ratelimit-retry-after")
_HEADERS_MS = ("retry-after-ms", "x-retry-after-ms", "x-ms-retry-after-ms")
_FIELDS_S = {
    "retryafter",
    "retryafters",
    "retryaftersec",
    "retryaftersecs",
    "retryafterseconds",
    "retryin",
    "retrydelay",
}
_FIELDS_MS = {"retryafterms", "retryaftermillis", "retryaftermilliseconds", "retryinms", "retrydelayms"}
_DEEPEST_FIELD = 4
_LONGEST_TEXT = 100


def retry_after_s(headers: Mapping[str, str], server_now_s: float) -> float | None:
    """Return the longest wait in seconds that the headers (names in lower case) ask for; None if they ask for none."""
    stated_s = [seconds(headers[name], server_now_s) for name in _HEADERS_S if name in headers]
    stated_s += [_milliseconds(headers[name], server_now_s) for name in _HEADERS_MS if name in headers]
    return max((one for one in stated_s if one is not None), default=None)


def body_retry_after_s(document: Mapping[str, Any], message: str | None, server_now_s: float) -> float | None:
    """Return the wait in seconds that a field of an error's body asks for, else its message; None if none does."""
    stated_s = [one for one in _fields(document, server_now_s, _DEEPEST_FIELD) if one is not None]
    return max(stated_s) if stated_s else _message_retry_after_s(message or "", server_now_s)


def seconds(value: object, server_now_s: float) -> float | None:
    """Return a time in any of the forms as seconds from now, at least 0; None if the value is no time."""
    number = _number(value)
    if number is not None:
        return max(0.0, _from_now(number, server_now_s))
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        return None
    text = value.strip()
    moment = _moment(text)
    duration = _duration_s(text) if moment is None else None
    if duration is None and moment is None:
        moment = http_date(text)
    return duration if moment is None else max(0.0, moment - server_now_s)


@lru_cache(maxsize=8)  # answers of the same second have the same date, and each is read twice
def http_date(value: str | None) -> float | None:
    """Return a header's date as Unix seconds; None for anything else."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _milliseconds(value: object, server_now_s: float) -> float | None:
    number = _number(value)
    if number is None or number >= EPOCH_SECONDS:
        return seconds(value, server_now_s)
    return max(0.0, number / 1000)


def _fields(document: object, server_now_s: float, depth: int) -> Iterator[float | None]:
    if depth == 0:
        return
    if isinstance(document, list):
        for entry in document[:16]:
            yield from _fields(entry, server_now_s, depth - 1)
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        plain = str(name).lower().replace("_", "").replace("-", "")
        if plain in _FIELDS_S:
            yield seconds(value, server_now_s)
        elif plain in _FIELDS_MS:
            yield _milliseconds(value, server_now_s)
        elif isinstance(value, dict | list):
            yield from _fields(value, server_now_s, depth - 1)


def _message_retry_after_s(message: str, server_now_s: float) -> float | None:
    """Return the wait in seconds in a sentence such as "Please try again later after 2025-11-08T01:20:49Z."."""
    asks = _ASKS.search(message)
    if asks is None:
        return None
    for found in _TIME_FOLLOWS.finditer(message, max(0, asks.start() - 1)):
        rest = message[found.end() : found.end() + 100]
        moment = _MOMENT.match(rest)
        number = _NUMBER.match(rest)
        stated_s = moment[0] if moment else number[0] if number else None
        wait = _leading_duration_s(rest) if stated_s is None else seconds(stated_s, server_now_s)
        if wait is not None:
            return wait
    return None


def _moment(text: str) -> float | None:
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration_s(text: str) -> float | None:
    """Return the duration in seconds if it is the whole text, up to a comma or a semicolon."""
    # A duration of ISO 8601 begins with PT.
    text = re.split("[,;]", text, maxsplit=1)[0].strip().removeprefix("PT")
    number = _number(text)
    if number is not None:
        return max(0.0, number)
    return _leading_duration_s(text)


def _leading_duration_s(text: str) -> float | None:
    total, position, last_unit_s = 0.0, 0, math.inf
    while (found := _PART.match(text, position)) is not None:
        unit_s = _UNITS_S[found[2].lower()]
        if unit_s >= last_unit_s:
            break
        total, position, last_unit_s = total + float(found[1]) * unit_s, found.end(), unit_s
    return total if position else None


def _from_now(number: float, server_now_s: float) -> float:
    if EPOCH_MILLISECONDS.start <= number < EPOCH_MILLISECONDS.stop:
        return number / 1000 - server_now_s
    return number - server_now_s if number >= EPOCH_SECONDS else number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
