"""What a file of records says about itself, and the interface of its writers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from harvester._version import __version__
from harvester.domain.results.vectors import VectorSpace

if TYPE_CHECKING:
    from harvester.domain.results.vectors import VectorBatch

_MODEL = "harvester.model"
_DIM = "harvester.dim"
_OPTIONS = "harvester.options"
_SCOPES = "harvester.scopes"
_VERSION = "harvester.version"

NORMALISED = "harvester.normalised"
"""`true` if each vector has length 1, else `false`. Known when all of them are written, so only Parquet says it."""


class FileKind(StrEnum):
    """The kinds of files, by the ends of their names."""

    PARQUET = ".parquet"
    ARROW = ".arrow"
    NPZ = ".npz"
    JSON_LINES = ".jsonl"

    @property
    def needs_arrow(self) -> bool:
        """Return whether pyarrow writes it; only these say what they hold."""
        return self in {FileKind.PARQUET, FileKind.ARROW}


@dataclass(frozen=True, slots=True)
class Contents:
    """The space of the vectors, and which of a task's vectors a file holds: all with no options and no scopes."""

    space: VectorSpace
    options: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def as_metadata(self) -> dict[str, str]:
        """Return it as the metadata of a file."""
        return {
            _MODEL: self.space.model_name or "",
            _DIM: str(self.space.dim),
            _OPTIONS: ",".join(self.options),
            _SCOPES: ",".join(self.scopes),
            _VERSION: __version__,
        }


def read_contents(metadata: Mapping[bytes, bytes] | None) -> Contents | None:
    """Return what the metadata of a file says; None if this program has not written it."""
    texts = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in (metadata or {}).items()
    }
    if _MODEL not in texts or not texts.get(_DIM, "").isdecimal():
        return None
    return Contents(
        VectorSpace(texts[_MODEL] or None, int(texts[_DIM])),
        tuple(filter(None, texts.get(_OPTIONS, "").split(","))),
        tuple(filter(None, texts.get(_SCOPES, "").split(","))),
    )


class RecordWriter(Protocol):
    """Writes the records of one space into an open file, which it does not close."""

    def write(self, batch: VectorBatch) -> None:
        """Write the rows. Raises OSError."""
        ...

    def finish(self) -> None:
        """Write what makes the file complete. Raises OSError."""
        ...

    def abandon(self) -> None:
        """Free what the writer holds; the file is worth nothing."""
        ...
