"""Decodes bodies: small ones in place, large ones in worker processes, so that the event loop never stands still."""

import errno
import os
from pathlib import Path

import anyio
from anyio import to_process, to_thread

from harvester.api.decode.result import Decoded, decode_file, decode_retrieval
from harvester.domain.tasks.outcomes import Invalid, Transient
from harvester.ports.log import get_logger
from harvester.ports.spooled_body import IN_MEMORY_BYTES, SpooledBody
from harvester.service.decode_worker import Exchanged, with_vectors
from harvester.service.worker_entry import decode_in_worker

IN_PLACE_BYTES = 4 * IN_MEMORY_BYTES
"""Bytes: a short body that decompresses to more than this is decoded as a large one."""

WORKER_DIED = "decode_worker_died"

_NO_PROCESS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EPERM, errno.EACCES})
"""Error numbers of a system that starts no further process, or gives no descriptors for one."""

log = get_logger()


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
                        decode_in_worker, body.path, encoding, self._max_body_bytes, limiter=anyio.CapacityLimiter(1)
                    )
                except OSError as error:
                    if error.errno not in _NO_PROCESS:
                        raise
                    log.warning("no process can be started, decoding in this one", why=error.strerror)
                    self._has_processes = False
                else:
                    return with_vectors(result, body.fileno()) if isinstance(result, Exchanged) else result
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
