"""Convert the body of a retrieval to an outcome: `Retrieved`, `Processing`, `Failed`, `Empty`, `Invalid`, `Transient`.

The functions are pure, so that a worker process can run them: parsing holds the interpreter's lock for 30 ms for each
hour of video, which would stall the event loop.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO

import orjson

from harvester.api.decode.body import (
    BodyError,
    decompress,
    decompressed,
    dump_json,
    excerpt,
    parse_object,
    refuse_dense,
)
from harvester.api.decode.duplicate_keys import refuse_duplicate_keys
from harvester.api.decode.number_scan import may_alter_numbers
from harvester.api.decode.optional_fields import Received, optional_columns
from harvester.api.decode.streaming import SplitDocument, split
from harvester.api.decode.vectors import VectorError, pack, rows_with_long_integers
from harvester.domain.tasks.embeddings import (
    END_FIELDS,
    MAX_EXACT_INTEGER,
    OPTION_FIELDS,
    SCOPE_FIELDS,
    START_FIELDS,
    VECTOR_FIELDS,
    Matrix,
    TaskEmbeddings,
    segments_holder,
)
from harvester.domain.tasks.exact_numbers import AsWritten, alters_numbers, parse_as_written
from harvester.domain.tasks.failures import NO_REASON, failure_code
from harvester.domain.tasks.optional_fields import OPTIONAL_FIELDS
from harvester.domain.tasks.outcomes import Empty, Failed, Invalid, Processing, Retrieved, Transient
from harvester.domain.tasks.task_document import nearest_number, text_or_none, video_metadata

MAX_MESSAGE_CHARACTERS = 500
MAX_REASON_CHARACTERS = 4_000
"""Characters of the platform's reason for a failed task, which is kept word for word."""

MAX_NUMBER_CHARACTERS = 40

Decoded = Retrieved | Processing | Failed | Empty | Invalid | Transient

_COLUMNS = (VECTOR_FIELDS, OPTION_FIELDS, SCOPE_FIELDS, START_FIELDS, END_FIELDS)


class _UnacceptableSegmentError(ValueError):
    """A segment is not acceptable; the message names the segment, the field and the problem."""


def decode_retrieval(body: bytes, encoding: str | None, max_bytes: int) -> Decoded:
    """Return the outcome of a retrieval's 200 answer; never raises on any bytes."""
    try:
        plain = decompress(body, encoding, max_bytes)
        refuse_dense(plain, max_bytes)
        document = parse_object(plain)
        refuse_duplicate_keys(document, plain)
        return decode_document(_exact(document, plain), plain)
    except BodyError as error:
        return error.outcome


def decode_file(file: BinaryIO, encoding: str | None, max_bytes: int) -> Decoded:
    """Return the same outcome as `decode_retrieval` for a file; a regular body is never in memory as a whole."""
    parts = split(decompressed(file, encoding, max_bytes), max_bytes)
    if parts is not None:
        return decode_document(parts.document, b"", parts)
    file.seek(0)
    return decode_retrieval(file.read(), encoding, max_bytes)


def _exact(document: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Return the document with AsWritten for every number that a float would alter. Raises BodyError."""
    if not (may_alter_numbers(body) and alters_numbers(body)):
        return document
    try:
        exact: dict[str, Any] = parse_as_written(body)
    except RecursionError:
        raise BodyError(Invalid("The answer is nested too deeply for its numbers.", "document_invalid")) from None
    return exact


def decode_document(document: dict[str, Any], body: bytes, parts: SplitDocument | None = None) -> Decoded:
    """Return the outcome of a parsed task object; `body` is its text, `parts` has the vectors if split off."""
    status, segments = document.get("status"), _segments(document)
    if "page_info" in document:
        return Transient("The answer is a page of the list, not a task.", "not_a_task")
    if status is None and segments is None:
        nested = document.get("error")
        code = text_or_none((nested if isinstance(nested, dict) else document).get("code"))
        return Transient(f"The answer is not a task: {excerpt(body)}.", code[:64] if code else "not_a_task")
    if status not in ("ready", None):
        return unfinished(document)
    return _finished(document, segments, parts) if segments else Empty(received_id=received_id(document))


def unfinished(document: dict[str, Any]) -> Failed | Processing:
    """Return the outcome of a task object that is not `ready`; an unknown status means "not finished"."""
    status = document.get("status")
    if status == "failed":
        message = failure_message(document)[:MAX_REASON_CHARACTERS]
        return Failed(message, failure_code(message), received_id(document))
    # Show only a string: to format nested lists could exceed the interpreter's depth.
    shown = status[:64] if isinstance(status, str) else type(status).__name__
    metadata = video_metadata(document)
    return Processing(shown, metadata.created_at_ms, metadata, received_id(document))


def received_id(document: dict[str, Any]) -> str | None:
    """Return the id that a task object names; None if it names none."""
    return text_or_none(document.get("_id"))


def _finished(document: dict[str, Any], segments: list[Any], parts: SplitDocument | None) -> Retrieved | Invalid:
    try:
        return Retrieved(_embeddings(document, segments, parts))
    except (_UnacceptableSegmentError, VectorError) as error:
        return Invalid(f"{error}.", "segments_invalid", received_id(document))
    except orjson.JSONEncodeError as error:
        message = f"The answer cannot be kept as JSON: {error}."
        return Invalid(message, "document_invalid", received_id(document))


def failure_message(document: dict[str, Any]) -> str:
    """Return the API's reason for a failed task, from any of its possible fields."""
    for key in ("error", "message", "reason"):
        reason = document.get(key)
        if isinstance(reason, dict):
            reason = reason.get("message")
        if isinstance(reason, str) and reason:
            return reason
    return NO_REASON


def _segments(document: dict[str, Any]) -> list[Any] | None:
    holder = segments_holder(document)
    if holder is None:
        return None
    owner, key = holder
    segments = owner.get(key)
    return segments if isinstance(segments, list) else None


def _embeddings(document: dict[str, Any], segments: list[Any], parts: SplitDocument | None) -> TaskEmbeddings:
    is_v1 = "video_embedding" in document
    path, vector_name = ("segments", VECTOR_FIELDS[0]) if is_v1 else ("data", VECTOR_FIELDS[1])
    for index, segment in enumerate(segments):
        if not isinstance(segment, dict):
            raise _UnacceptableSegmentError(f"{path}[{index}]: not an object")
    layouts, layout_of, columns = _columns(segments)
    vector_fields, options, scopes, starts, ends = columns
    extras = _extras(segments, layouts, layout_of)
    if parts is not None:
        vectors = parts.vectors
    else:
        rows = [_numbers(segment.get(name)) for segment, name in zip(segments, vector_fields, strict=True)]
        vectors = pack(rows, name=f"{path}[{{}}].{vector_fields[0] or vector_name}")
        for position in rows_with_long_integers(vectors, rows):
            extras.setdefault(position, {})[str(vector_fields[position])] = rows[position]
        _keep_as_written(extras, segments, columns)
    metadata = video_metadata(document)
    if not is_v1:
        _check_dimension(metadata.embedding_dimension, vectors, f"{path}[0].{vector_fields[0]}")
    optional = optional_columns(segments, layouts, extras, Received(path, vectors.shape[1], parts))
    owner, key = segments_holder(document) or (document, path)
    owner[key] = []
    # orjson reads deeper nesting than it writes: check that the extras can be written back at their depth.
    dump_json([[[list(extra.values()) for extra in extras.values()]]])
    return TaskEmbeddings(
        metadata=metadata,
        options=_texts(segments, options, path),
        scopes=_texts(segments, scopes, path),
        starts=_seconds(segments, starts, path, required=START_FIELDS[0] if is_v1 else None),
        ends=_seconds(segments, ends, path, required=END_FIELDS[0] if is_v1 else None),
        vectors=vectors,
        document=dump_json(document),
        layouts=layouts,
        layout_of=layout_of,
        received_id=received_id(document),
        extras=extras,
        **optional,
    )


def _check_dimension(described: int | None, vectors: Matrix, name: str) -> None:
    if described is not None and described != vectors.shape[1]:
        raise _UnacceptableSegmentError(
            f"{name}: {vectors.shape[1]} numbers, but metadata.embedding_dimension is {described}"
        )


_Names = list[str | None]


def _columns(segments: list[dict[str, Any]]) -> tuple[list[tuple[str, ...]], list[int], list[_Names]]:
    """Return the distinct layouts, each segment's layout, and for each column the field name in each segment."""
    seen: dict[tuple[str, ...], int] = {}
    layout_of = [seen.setdefault(tuple(segment), len(seen)) for segment in segments]
    layouts = list(seen)
    if len(layouts) == 1:
        return layouts, layout_of, [[name] * len(segments) for name in _column_names(layouts[0])]
    known = [_column_names(layout) for layout in layouts]
    return layouts, layout_of, [[names[layout] for layout in layout_of] for names in zip(*known, strict=True)]


@lru_cache(maxsize=64)
def _column_names(layout: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return for each column the field name in that layout; cached, because nearly all results have the same one."""
    return tuple(next((name for name in names if name in layout), None) for names in _COLUMNS)


def _extras(
    segments: list[dict[str, Any]], layouts: list[tuple[str, ...]], layout_of: list[int]
) -> dict[int, dict[str, Any]]:
    """Return the fields without a column, by the segment's position."""
    unknown = [
        [name for name in layout if name not in _column_names(layout) and name not in OPTIONAL_FIELDS]
        for layout in layouts
    ]
    if not any(unknown):
        return {}
    return {
        position: {name: segment[name] for name in unknown[layout]}
        for position, (segment, layout) in enumerate(zip(segments, layout_of, strict=True))
        if unknown[layout]
    }


def _numbers(vector: Any) -> Any:
    return vector.nearest if isinstance(vector, AsWritten) else vector


def _keep_as_written(
    extras: dict[int, dict[str, Any]], segments: list[dict[str, Any]], columns: Iterable[Sequence[str | None]]
) -> None:
    """Add the fields whose column holds only the nearest float, by the segment's position."""
    if AsWritten not in map(type, chain.from_iterable(map(dict.values, segments))):
        return
    for names in columns:
        for position, (segment, name) in enumerate(zip(segments, names, strict=True)):
            if name is not None and isinstance(segment[name], AsWritten):
                extras.setdefault(position, {})[name] = segment[name]


def _texts(segments: list[dict[str, Any]], names: Sequence[str | None], path: str) -> list[str | None]:
    values = [segment[name] if name else None for segment, name in zip(segments, names, strict=True)]
    if set(map(type, values)) == {str}:
        return values
    for index, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise _UnacceptableSegmentError(f"{path}[{index}].{names[index]}: {type(value).__name__} instead of a text")
    return values


def _seconds(
    segments: list[dict[str, Any]], names: Sequence[str | None], path: str, *, required: str | None
) -> list[float | None]:
    """Return a column of times in seconds; `required` is the field name for the message about a missing one."""
    received: list[Any] = [segment[name] if name else None for segment, name in zip(segments, names, strict=True)]
    if set(map(type, received)) <= {int, float} and 0 <= min(received) <= max(received) < MAX_EXACT_INTEGER:
        return list(map(float, received))
    values = list(map(nearest_number, received))
    for index, value in enumerate(values):
        if problem := _problem_of_time(value, is_required=required is not None):
            raise _UnacceptableSegmentError(f"{path}[{index}].{names[index] or required}: {problem}")
    return [None if value is None else float(value) for value in values]


def _problem_of_time(value: Any, *, is_required: bool) -> str | None:
    if value is None:
        return "missing" if is_required else None
    if isinstance(value, AsWritten):
        return f"{value.text[:MAX_NUMBER_CHARACTERS]} is not a time that a floating-point number is near"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{type(value).__name__} instead of seconds"
    is_too_long = isinstance(value, int) and value >= MAX_EXACT_INTEGER
    return f"{value} is not a time in the video" if value < 0 or is_too_long else None
