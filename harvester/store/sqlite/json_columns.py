"""JSON columns to values and back, with numbers that no float gives back as they were written."""

from typing import Any

import orjson

from harvester.domain.tasks.exact_numbers import AsWritten, alters_numbers, parse_as_written


def dump_json(value: Any) -> bytes:
    """Return the JSON text of a value that may hold AsWritten and arrays of numpy."""
    return orjson.dumps(value, default=_as_written, option=orjson.OPT_SERIALIZE_NUMPY)


def load_json(text: str) -> Any:
    """Return what the text of a column means. Raises orjson.JSONDecodeError."""
    found, raw = orjson.loads(text), text.encode()
    return parse_as_written(raw) if alters_numbers(raw) else found


def _as_written(value: AsWritten) -> orjson.Fragment:
    return orjson.Fragment(value.text)
