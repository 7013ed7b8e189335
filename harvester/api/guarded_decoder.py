"""Keeps answers that repeat the API key out of the store."""

from anyio import to_thread

from harvester.api.redaction import KEY_ECHOED, SecretGuard
from harvester.domain.tasks.dead_letter import MAX_PAYLOAD_BYTES
from harvester.domain.tasks.outcomes import Empty, Invalid, Outcome
from harvester.ports.api import BodyDecoder
from harvester.ports.spooled_body import SpooledBody


class GuardedDecoder:
    """Decodes as `decoder` does; the outcome is KEY_ECHOED if `guard` finds the key in what would be stored."""

    def __init__(self, decoder: BodyDecoder, guard: SecretGuard, max_body_bytes: int) -> None:
        self.workers = decoder.workers
        self._decoder = decoder
        self._guard = guard
        self._max_body_bytes = max_body_bytes

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        """Return the meaning of a retrieval's body."""
        outcome = await self._decoder.decode(body, encoding)
        return KEY_ECHOED if await self._repeats_key(outcome, body, encoding) else outcome

    async def _repeats_key(self, outcome: Outcome, body: bytes | SpooledBody, encoding: str | None) -> bool:
        if not isinstance(outcome, Invalid | Empty):
            return self._guard.is_in_outcome(outcome)
        if not self._guard.secret():
            return False
        # The body of such an outcome is stored, so that a person can find the reason.
        kept = body if isinstance(body, bytes) else body.beginning(MAX_PAYLOAD_BYTES)
        return await to_thread.run_sync(self._guard.is_in_body, kept, encoding, self._max_body_bytes)
