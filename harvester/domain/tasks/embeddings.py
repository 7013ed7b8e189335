"""The embeddings of one task: columns of segments, one float matrix, and the rest of the JSON, to rebuild it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The field names of the two API versions, and of the two documentation pages of v1.
VECTOR_FIELDS = ("float", "embedding")
START_FIELDS = ("start_offset_sec", "start_offset_time", "start_sec")
END_FIELDS = ("end_offset_sec", "end_offset_time", "end_sec")
OPTION_FIELDS = ("embedding_option",)
SCOPE_FIELDS = ("embedding_scope",)

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
    """The API's description of a video. Times in `_ms` are Unix milliseconds, the duration and clip length seconds."""

    model_name: str | None = None
    duration: float | None = None
    input_filename: str | None = None
    input_url: str | None = None
    video_clip_length: float | None = None
    scopes: tuple[str, ...] = ()
    created_at_ms: int | None = None
    updated_at_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TaskEmbeddings:
    """Columns of `n` segments in the order of the response, and their vectors as one matrix.

    `vectors` is `float32[n, dim]` if float32 holds every received number without loss, else `float64[n, dim]`; the
    bytes are little-endian. `document` is the received JSON with an empty list of segments. `layout_of` has for each
    segment an index into `layouts`, the field names in the received order. `extras` holds the fields without a column,
    by the segment's position. Together they rebuild the received JSON. `received_id` is the id in the answer.
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


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One stored segment with its vector. `start` and `end` are seconds."""

    option: str | None
    scope: str | None
    start: float | None
    end: float | None
    vector: Matrix
    layout: int = 0
    extra: Mapping[str, Any] | None = None


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
    return row.option if name in OPTION_FIELDS else row.scope


def _number(value: float | None) -> float | int | None:
    """Return whole seconds as the API writes them: `6`, not `6.0`; floats that no integer stands for stay floats."""
    if value is None or not value.is_integer() or value >= MAX_EXACT_INTEGER or str(value) == _MINUS_ZERO:
        return value
    return int(value)
