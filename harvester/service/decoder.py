"""Decodes bodies: small ones in place, large ones in worker processes, so that the event loop never stands still.

A large body and the vectors made of it travel through memory that both processes see. Through the pipes of the pool
they would keep the event loop busy for longer than they take to decode.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import numpy as np
from anyio import to_process

from harvester.api.decoding import Decoded, decode_file, decode_retrieval
from harvester.domain.outcomes import Retrieved, Transient

IN_PLACE_BYTES = 64 * 1024
"""A body of this size on the wire decodes within a few milliseconds, less than handing it over takes."""


@dataclass(frozen=True, slots=True)
class _Exchanged:
    """An outcome whose vectors were left in the shared file: `dtype[rows, dim]` from its beginning on."""

    outcome: Retrieved
    dtype: str
    rows: int
    dim: int


class Decoder:
    """A pool of worker processes; they start with the first large body and live as long as the event loop."""

    def __init__(self, max_body_bytes: int, workers: int | None = None) -> None:
        self.workers = workers or max(1, os.cpu_count() or 1)
        self._max_body_bytes = max_body_bytes
        self._limiter = anyio.CapacityLimiter(self.workers)

    async def decode(self, body: bytes, encoding: str | None) -> Decoded:
        """Return what the body of a retrieval means."""
        if len(body) <= IN_PLACE_BYTES:
            return decode_retrieval(body, encoding, self._max_body_bytes)
        async with self._limiter:
            with _shared_file(body) as (descriptor, path):
                try:
                    result = await to_process.run_sync(
                        _decode_in_worker, path, encoding, self._max_body_bytes, limiter=anyio.CapacityLimiter(1)
                    )
                except (anyio.BrokenWorkerProcess, KeyboardInterrupt):
                    # Killed, or hit by a Ctrl-C before it could ignore it. The pool starts another for the next body.
                    return Transient("The process that decoded the answer died.", "decode_worker_died")
                except (OSError, MemoryError) as error:
                    return Transient(f"The answer could not be decoded here: {error!r}.", "decode_impossible")
                return _with_vectors(result, descriptor) if isinstance(result, _Exchanged) else result


@contextmanager
def _shared_file(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of an anonymous file with that content, and a path under which a child can open it.

    In memory on Linux; not in /dev/shm, of which containers have 64 MB. Elsewhere a temporary file of the owner.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("harvester-body"), "r+b", buffering=0) as file:
            _write_all(file.fileno(), memoryview(content))
            yield file.fileno(), f"/proc/{os.getpid()}/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(buffering=0) as named:
            _write_all(named.fileno(), memoryview(content))
            yield named.fileno(), named.name


def _decode_in_worker(path: str, encoding: str | None, max_body_bytes: int) -> Decoded | _Exchanged:
    # A Ctrl-C in the terminal reaches the whole process group; the parent drains, and needs its workers for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(path).open("r+b", buffering=0) as file:
        outcome = decode_file(file, encoding, max_body_bytes)
        if not isinstance(outcome, Retrieved):
            return outcome
        vectors = outcome.embeddings.vectors
        file.seek(0)
        _write_all(file.fileno(), memoryview(vectors.tobytes()))
        emptied = Retrieved(replace(outcome.embeddings, vectors=vectors[:0]))
        return _Exchanged(emptied, vectors.dtype.str, *vectors.shape)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _with_vectors(exchanged: _Exchanged, descriptor: int) -> Retrieved:
    dtype = np.dtype(exchanged.dtype)
    content = os.pread(descriptor, exchanged.rows * exchanged.dim * dtype.itemsize, 0)
    vectors = np.frombuffer(content, dtype).reshape(exchanged.rows, exchanged.dim)
    return Retrieved(replace(exchanged.outcome.embeddings, vectors=vectors))
