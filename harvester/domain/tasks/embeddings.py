"""The embeddings of one task: columns of segments, one float matrix, and the rest of the JSON, to rebuild it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The field names of the two API versions, of the two documentation pages of v1, and of Amazon Bedrock.
VECTOR_FIELDS = ("float", "embedding")
START_FIELDS = ("start_offset_sec", "start_offset_time", "start_sec", "startSec")
END_FIELDS = ("end_offset_sec", "end_offset_time", "end_sec", "endSec")
OPTION_FIELDS = ("embedding_option", "embeddingOption")
SCOPE_FIELDS = ("embedding_scope", "embeddingScope")
START_PAGE_FIELD = "start_page_number"
END_PAGE_FIELD = "end_page_number"
QUADRANT_FIELD = "quadrant"
CHUNK_FIELD = "chunk_index"
UNCERTAINTY_FIELD = "embedding_uncertainty"

NUMBER_LIST_FIELDS = (*VECTOR_FIELDS, UNCERTAINTY_FIELD)
"""The fields that hold long lists of numbers."""

MEDIA = ("video", "audio", "document", "image")
"""The types of input; each gives its name to fields of list entries, such as `audio_embedding_option`."""

MAX_EXACT_INTEGER = 2.0**53
"""From this number on not every integer is a float."""

_MINUS_ZERO = "-0.0"

if TYPE_CHECKING:
    Matrix = NDArray[np.float32] | NDArray[np.float64]
else:
    # `harvester status` needs no vectors, and loading numpy takes longer than the whole command.
    Matrix = Any


@dataclass(frozen=True, slots=True)
class MediaMetadata:
    """The API's description of a task's input and of its result.

    Times in `_ms` are Unix milliseconds; duration, clip length and offsets are seconds. `video_clip_length` is the
    length of a clip of any medium. `scopes` and `options` are those that the API lists. `tokens` are pairs of a medium
    and how many of its tokens the model has read; `is_truncated`: it has read only a part of the input. `given_model`:
    the model that a person names for an imported result that names none.
    """

    model_name: str | None = None
    duration: float | None = None
    input_filename: str | None = None
    input_url: str | None = None
    video_clip_length: float | None = None
    scopes: tuple[str, ...] = ()
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    input_type: str | None = None
    options: tuple[str, ...] = ()
    start_offset_sec: float | None = None
    end_offset_sec: float | None = None
    embedding_dimension: int | None = None
    tokens: tuple[tuple[str, int], ...] = ()
    is_truncated: bool | None = None
    truncation_reason: str | None = None
    given_model: str | None = None

    @property
    def has_usage(self) -> bool:
        """Whether the API reports what the model has read."""
        return bool(self.tokens) or self.is_truncated is not None


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainties:
    """The uncertainty of each number of some vectors: row `i` of `vectors` is about the segment at `positions[i]`.

    `vectors` has the types of `TaskEmbeddings.vectors`. The positions ascend.
    """

    positions: Sequence[int]
    vectors: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class TaskEmbeddings:
    """Columns of `n` segments in the order of the response, and their vectors as one matrix.

    `vectors` is `float32[n, dim]` if float32 holds every received number without loss, else `float64[n, dim]`; the
    bytes are little-endian. `document` is the received JSON with an empty list of segments. `layout_of` has for each
    segment an index into `layouts`, the field names in the received order. `extras` holds the fields without a column,
    by the segment's position. Together they rebuild the received JSON. `received_id` is the id in the answer. A column
    of pages, quadrants or chunks is empty if no segment has a value in it.
    """

    metadata: MediaMetadata
    options: Sequence[str | None]
    scopes: Sequence[str | None]
    starts: Sequence[float | None]
    ends: Sequence[float | None]
    vectors: Matrix
    document: bytes
    layouts: Sequence[tuple[str, ...]]
    layout_of: Sequence[int]
    received_id: str | None = None
    extras: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    start_pages: Sequence[int | None] = ()
    end_pages: Sequence[int | None] = ()
    quadrants: Sequence[str | None] = ()
    chunk_indexes: Sequence[int | None] = ()
    uncertainties: Uncertainties | None = None

    @property
    def count(self) -> int:
        """The number of segments."""
        return len(self.options)

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return int(self.vectors.shape[1])

    @property
    def dtype(self) -> str:
        """The stored type of a number: `f4` or `f8`."""
        return f"f{self.vectors.dtype.itemsize}"

    @property
    def number_bytes(self) -> int:
        """The bytes of all vectors and uncertainties."""
        uncertain = 0 if self.uncertainties is None else self.uncertainties.vectors.nbytes
        return self.vectors.nbytes + uncertain


_ATTRIBUTES = {
    START_PAGE_FIELD: "start_page",
    END_PAGE_FIELD: "end_page",
    QUADRANT_FIELD: "quadrant",
    CHUNK_FIELD: "chunk_index",
    UNCERTAINTY_FIELD: "uncertainty",
}
"""The attributes of a row that have a field of one name only."""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One stored segment with its vector, and the uncertainty if there is one. `start` and `end` are seconds."""

    option: str | None
    scope: str | None
    start: float | None
    end: float | None
    vector: Matrix
    layout: int = 0
    extra: Mapping[str, Any] | None = None
    start_page: int | None = None
    end_page: int | None = None
    quadrant: str | None = None
    chunk_index: int | None = None
    uncertainty: Matrix | None = None


def segments_holder(document: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Return the object in `document` that holds the list of segments, and the list's key; v1 and v2 differ."""
    if "data" in document and "video_embedding" not in document:
        return document, "data"
    video = document.get("video_embedding")
    return (video, "segments") if isinstance(video, dict) else None


def rebuild(document: dict[str, Any], layouts: Sequence[Sequence[str]], rows: Sequence[SegmentRow]) -> dict[str, Any]:
    """Return the API's JSON object; vectors stay arrays, for an encoder that writes the shortest float32."""
    holder = segments_holder(document)
    if holder is None:
        return document
    owner, key = holder
    owner[key] = [_segment(layouts[row.layout], row) for row in rows]
    return document


def _segment(layout: Sequence[str], row: SegmentRow) -> dict[str, Any]:
    extra = row.extra or {}
    return {name: extra[name] if name in extra else _field(name, row) for name in layout}


def _field(name: str, row: SegmentRow) -> Any:
    if name in VECTOR_FIELDS:
        return row.vector
    if name in START_FIELDS:
        return _number(row.start)
    if name in END_FIELDS:
        return _number(row.end)
    if name in OPTION_FIELDS:
        return row.option
    return row.scope if name in SCOPE_FIELDS else getattr(row, _ATTRIBUTES[name])


def _number(value: float | None) -> float | int | None:
    """Return whole seconds as the API writes them: `6`, not `6.0`; floats that no integer stands for stay floats."""
    if value is None or not value.is_integer() or value >= MAX_EXACT_INTEGER or str(value) == _MINUS_ZERO:
        return value
    return int(value)
