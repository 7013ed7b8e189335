"""What a decoding process does, and what it leaves for the process that asked: imported by both, so it imports little.

A large body and the vectors made of it travel in a file in memory that both processes see. Through the pipes of the
pool they would keep the event loop busy for longer than they take to decode.
"""

import io
import mmap
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harvester.api.decode.result import Decoded, decode_file
from harvester.domain.tasks.embeddings import Matrix
from harvester.domain.tasks.outcomes import Retrieved


@dataclass(frozen=True, slots=True)
class _Left:
    """A matrix that was left in the shared file: `dtype[rows, dim]` from the byte `offset` on."""

    dtype: str
    rows: int
    dim: int
    offset: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An outcome whose vectors and uncertainties were left in the shared file."""

    outcome: Retrieved
    vectors: _Left
    uncertainties: _Left | None


def decode_and_leave(path: str, encoding: str | None, max_body_bytes: int) -> Decoded | Exchanged:
    """Return the meaning of the body in the file; the vectors of a result are left in its place.

    Raises OSError and MemoryError.
    """
    with Path(path).open("r+b", buffering=0) as file:
        outcome = decode_file(file, encoding, max_body_bytes)
        if not isinstance(outcome, Retrieved):
            return outcome
        return _leave_vectors(outcome, file)


def _leave_vectors(outcome: Retrieved, file: io.FileIO) -> Exchanged:
    """Put the vectors and uncertainties in place of the body."""
    embeddings = outcome.embeddings
    vectors, uncertainties = embeddings.vectors, embeddings.uncertainties
    # Each matrix begins at a multiple of the size of its numbers.
    padding = b"" if uncertainties is None else bytes(-vectors.nbytes % 8)
    file.truncate(min(embeddings.number_bytes + len(padding), file.seek(0, os.SEEK_END)))
    file.seek(0)
    _write_all(file.fileno(), vectors.data.cast("B"))
    left = None
    if uncertainties is not None:
        _write_all(file.fileno(), memoryview(padding))
        left = _left(uncertainties.vectors, file.tell())
        _write_all(file.fileno(), uncertainties.vectors.data.cast("B"))
        uncertainties = replace(uncertainties, vectors=uncertainties.vectors[:0])
    emptied = replace(embeddings, vectors=vectors[:0], uncertainties=uncertainties)
    return Exchanged(Retrieved(emptied), _left(vectors, 0), left)


def _left(matrix: Matrix, offset: int) -> _Left:
    rows, dim = matrix.shape
    return _Left(matrix.dtype.str, rows, dim, offset)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def with_vectors(exchanged: Exchanged, descriptor: int) -> Retrieved:
    """Return the outcome with its vectors mapped from that file; the mapping stays when the file is closed."""
    embeddings, left = exchanged.outcome.embeddings, exchanged.uncertainties
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    uncertainties = embeddings.uncertainties
    if uncertainties is not None and left is not None:
        uncertainties = replace(uncertainties, vectors=_matrix(left, mapped))
    return Retrieved(replace(embeddings, vectors=_matrix(exchanged.vectors, mapped), uncertainties=uncertainties))


def _matrix(left: _Left, mapped: mmap.mmap) -> Matrix:
    matrix: Matrix = np.frombuffer(mapped, np.dtype(left.dtype), left.rows * left.dim, left.offset)
    return matrix.reshape(left.rows, left.dim)
