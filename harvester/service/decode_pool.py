"""Decodes bodies: small ones in place, large ones in worker processes, so that the event loop never stands still.

A large body and the vectors made of it travel in a file in memory that both processes see. Through the pipes of the
pool they would keep the event loop busy for longer than they take to decode.
"""

import errno
import io
import mmap
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import numpy as np
import structlog
from anyio import to_process, to_thread

from harvester.api.decode.result import Decoded, decode_file, decode_retrieval
from harvester.domain.tasks.embeddings import Matrix
from harvester.domain.tasks.outcomes import Invalid, Retrieved, Transient
from harvester.ports.spooled_body import IN_MEMORY_BYTES, SpooledBody

IN_PLACE_BYTES = 4 * IN_MEMORY_BYTES
"""Bytes: a short body that decompresses to more than this is decoded as a large one."""

WORKER_DIED = "decode_worker_died"

_NO_PROCESS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EPERM, errno.EACCES})
"""Error numbers of a system that starts no further process, or gives no descriptors for one."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class _Left:
    """A matrix that was left in the shared file: `dtype[rows, dim]` from the byte `offset` on."""

    dtype: str
    rows: int
    dim: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Exchanged:
    """An outcome whose vectors and uncertainties were left in the shared file."""

    outcome: Retrieved
    vectors: _Left
    uncertainties: _Left | None


class Decoder:
    """A pool of worker processes; they start with the first large body and live as long as the event loop.

    With `workers=0` (for scarce memory), and if no process can be started, a thread of this process does their work.
    """

    def __init__(self, max_body_bytes: int, workers: int | None = None) -> None:
        self._has_processes = workers != 0
        self.workers = max(1, (os.cpu_count() or 1) if workers is None else workers)
        self._max_body_bytes = max_body_bytes
        self._limiter = anyio.CapacityLimiter(self.workers)

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Decoded:
        """Return the meaning of a retrieval's body. Decoding uses up the content of a large body."""
        if isinstance(body, bytes) and len(body) <= IN_MEMORY_BYTES:
            cap_bytes = min(self._max_body_bytes, IN_PLACE_BYTES)
            outcome = decode_retrieval(body, encoding, cap_bytes)
            if cap_bytes == self._max_body_bytes or not _is_too_large(outcome):
                return outcome
        try:
            return await self._decode_large(body if isinstance(body, SpooledBody) else SpooledBody.of(body), encoding)
        except (anyio.BrokenWorkerProcess, KeyboardInterrupt):
            # The worker was killed, or a Ctrl-C hit it before it ignored it. The pool starts another for the next body.
            return Transient("The process that decoded the answer died.", WORKER_DIED)
        except (OSError, MemoryError) as error:
            # Also if this process has no memory or no descriptor for the exchange.
            return Transient(f"The answer could not be decoded here: {error!r}.", "decode_impossible")

    async def _decode_large(self, body: SpooledBody, encoding: str | None) -> Decoded:
        async with self._limiter:
            if self._has_processes:
                try:
                    result = await to_process.run_sync(
                        _decode_in_worker, body.path, encoding, self._max_body_bytes, limiter=anyio.CapacityLimiter(1)
                    )
                except OSError as error:
                    if error.errno not in _NO_PROCESS:
                        raise
                    log.warning("no process can be started, decoding in this one", why=error.strerror)
                    self._has_processes = False
                else:
                    return _with_vectors(result, body) if isinstance(result, _Exchanged) else result
            return await self._decode_here(body, encoding)

    async def _decode_here(self, body: SpooledBody, encoding: str | None) -> Decoded:
        def decode() -> Decoded:
            with Path(body.path).open("rb", buffering=0) as file:
                return decode_file(file, encoding, self._max_body_bytes)

        try:
            return await to_thread.run_sync(decode, limiter=anyio.CapacityLimiter(1))
        except RuntimeError as error:
            if "can't start new thread" not in str(error):
                raise
            # The event loop stands still meanwhile, but the harvest goes on.
            return decode()


def _is_too_large(outcome: Decoded) -> bool:
    return isinstance(outcome, Invalid) and outcome.code == "body_too_large"


def _decode_in_worker(path: str, encoding: str | None, max_body_bytes: int) -> Decoded | _Exchanged:
    # A Ctrl-C in the terminal reaches the whole process group; the parent drains, and needs its workers for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The same holds when the terminal closes.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Path(path).open("r+b", buffering=0) as file:
        outcome = decode_file(file, encoding, max_body_bytes)
        if not isinstance(outcome, Retrieved):
            return outcome
        return _leave_vectors(outcome, file)


def _leave_vectors(outcome: Retrieved, file: io.FileIO) -> _Exchanged:
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
    return _Exchanged(Retrieved(emptied), _left(vectors, 0), left)


def _left(matrix: Matrix, offset: int) -> _Left:
    rows, dim = matrix.shape
    return _Left(matrix.dtype.str, rows, dim, offset)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _with_vectors(exchanged: _Exchanged, body: SpooledBody) -> Retrieved:
    """Return the outcome with the vectors mapped from the file: the mapping stays when the file is closed."""
    embeddings, left = exchanged.outcome.embeddings, exchanged.uncertainties
    mapped = mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ)
    uncertainties = embeddings.uncertainties
    if uncertainties is not None and left is not None:
        uncertainties = replace(uncertainties, vectors=_matrix(left, mapped))
    return Retrieved(replace(embeddings, vectors=_matrix(exchanged.vectors, mapped), uncertainties=uncertainties))


def _matrix(left: _Left, mapped: mmap.mmap) -> Matrix:
    matrix: Matrix = np.frombuffer(mapped, np.dtype(left.dtype), left.rows * left.dim, left.offset)
    return matrix.reshape(left.rows, left.dim)
