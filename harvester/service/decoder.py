"""Decodes bodies: small ones in place, large ones in worker processes, so that the event loop never stands still."""

import os
import signal

import anyio
from anyio import to_process

from harvester.api.decoding import Decoded, decode_retrieval
from harvester.domain.outcomes import Transient

IN_PLACE_BYTES = 64 * 1024
"""A body of this size on the wire decodes within a few milliseconds, less than handing it over takes."""


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
        try:
            return await to_process.run_sync(
                _decode_in_worker, body, encoding, self._max_body_bytes, limiter=self._limiter
            )
        except (anyio.BrokenWorkerProcess, KeyboardInterrupt):
            # Killed, or hit by a Ctrl-C before it could ignore it. The pool starts another one for the next body.
            return Transient("The process that decoded the answer died.", "decode_worker_died")


def _decode_in_worker(body: bytes, encoding: str | None, max_body_bytes: int) -> Decoded:
    # A Ctrl-C in the terminal reaches the whole process group; the parent drains, and needs its workers for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return decode_retrieval(body, encoding, max_body_bytes)
