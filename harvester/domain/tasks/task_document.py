"""Read the description of a task and its input from the API's JSON objects: answers about a task, and list entries."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from harvester.domain.tasks.embeddings import MEDIA, MediaMetadata
from harvester.domain.tasks.exact_numbers import AsWritten
from harvester.domain.tasks.optional_fields import is_integer

_HOLDERS = {medium: f"{medium}_embedding" for medium in MEDIA}
"""The fields of version 1 and of list entries that describe an input, by its medium."""


def video_metadata(document: dict[str, Any]) -> MediaMetadata:
    """Return the columns of metadata; a value of an unexpected type stays in the document only.

    A task of version 1 and an entry of the list have it in `video_embedding`, `audio_embedding` and so on, with the
    medium in the names of some fields; a task of version 2 has it beside its data.
    """
    medium, described = _described(document)
    prefix = medium or MEDIA[0]
    metadata, usage = _object(document.get("metadata")) | described, _object(document.get("usage"))
    is_truncated = usage.get("truncated")
    return MediaMetadata(
        model_name=text_or_none(document.get("model_name")),
        duration=_number(metadata.get("duration")),
        input_filename=text_or_none(metadata.get("input_filename")),
        input_url=text_or_none(metadata.get("input_url")),
        video_clip_length=_number(_either(metadata, f"{prefix}_clip_length", "clip_length")),
        scopes=_names(_either(metadata, f"{prefix}_embedding_scope", "embedding_scopes")),
        created_at_ms=timestamp_ms(document.get("created_at")),
        updated_at_ms=timestamp_ms(document.get("updated_at")),
        input_type=text_or_none(metadata.get("input_type")) or medium,
        options=_names(_either(metadata, f"{prefix}_embedding_option", "embedding_options")),
        start_offset_sec=_number(metadata.get("start_offset_sec")),
        end_offset_sec=_number(metadata.get("end_offset_sec")),
        embedding_dimension=_integer(metadata.get("embedding_dimension")),
        tokens=tuple(sorted(_tokens(usage.get("input_tokens")))) if usage else (),
        is_truncated=is_truncated if isinstance(is_truncated, bool) else None,
        truncation_reason=text_or_none(usage.get("truncation_reason")),
    )


def _described(document: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the medium whose object describes the input, and the metadata in it."""
    for medium, field in _HOLDERS.items():
        holder = document.get(field)
        if isinstance(holder, dict):
            return medium, _object(holder.get("metadata"))
    return None, {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _either(metadata: dict[str, Any], name: str, other_name: str) -> Any:
    """Return the value of the first field, unless it is missing or null; then that of the second."""
    value = metadata.get(name)
    return metadata.get(other_name) if value is None else value


def _names(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _tokens(value: Any) -> Iterator[tuple[str, int]]:
    for medium, received in _object(value).items():
        if (tokens := _integer(received)) is not None:
            yield medium, tokens


def _integer(value: Any) -> int | None:
    return value if is_integer(value) else None


def text_or_none(value: Any) -> str | None:
    """Return a text; None for anything else."""
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    """Return the nearest float for a column of metadata; None for an integer between two floats."""
    number = nearest_number(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or float(number) != number:
        return None
    return float(number)


def timestamp_ms(value: Any) -> int | None:
    """Return an RFC 3339 time as Unix milliseconds; None for anything else, which the document keeps as text."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        milliseconds = round(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None
    # Go writes an unset time as the year 1.
    return milliseconds if milliseconds > 0 else None


def nearest_number(value: Any) -> Any:
    """Return the float nearest to a number that a float alters; any other value as it is."""
    return value.nearest if isinstance(value, AsWritten) and value.nearest is not None else value
