"""Convert JSON columns to values and back, without altering numbers that a float would alter."""

from typing import Any

import orjson

from harvester.domain.tasks.exact_numbers import AsWritten, alters_numbers, parse_as_written


def dump_json(value: Any) -> bytes:
    """Return the JSON text of a value that may contain AsWritten and numpy arrays."""
    return orjson.dumps(value, default=_as_written, option=orjson.OPT_SERIALIZE_NUMPY)


def load_json(text: str) -> Any:
    """Return the value of a JSON column. Raises orjson.JSONDecodeError."""
    found, raw = orjson.loads(text), text.encode()
    return parse_as_written(raw) if alters_numbers(raw) else found


def _as_written(value: AsWritten) -> orjson.Fragment:
    return orjson.Fragment(value.text)
