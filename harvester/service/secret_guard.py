"""Lets nothing that repeats the API key on its way into the store."""

from collections.abc import Callable

from anyio import to_thread

from harvester.api.body_buffer import LargeBody
from harvester.api.client import SECRET_CHARACTERS
from harvester.api.secrecy import body_repeats, embeddings_repeat
from harvester.domain.tasks.outcomes import Empty, Invalid, Outcome, Retrieved, Transient
from harvester.service.pipeline import BodyDecoder
from harvester.store.sqlite.dead_letters import MAX_PAYLOAD_BYTES


class VettingDecoder:
    """Decodes as `decoder` does, and looks at what came out: it is stored, or its body is kept, only without the key.

    A key of fewer than SECRET_CHARACTERS, like a rehearsal's, is in good answers by chance and not looked for.
    """

    def __init__(self, decoder: BodyDecoder, key: Callable[[], str], max_body_bytes: int) -> None:
        self.workers = decoder.workers
        self._decoder = decoder
        self._key = key
        self._max_body_bytes = max_body_bytes

    async def decode(self, body: bytes | LargeBody, encoding: str | None) -> Outcome:
        """Return what the body of a retrieval means."""
        outcome = await self._decoder.decode(body, encoding)
        key = self._key()
        if len(key) >= SECRET_CHARACTERS and await self._repeats(outcome, body, encoding, key):
            return Transient("The answer repeats the API key.", "key_echoed")
        return outcome

    async def _repeats(self, outcome: Outcome, body: bytes | LargeBody, encoding: str | None, key: str) -> bool:
        if isinstance(outcome, Retrieved):
            return embeddings_repeat(outcome.embeddings, key)
        if isinstance(outcome, Invalid | Empty):
            # Its body is kept for whoever wants to know why.
            kept = body if isinstance(body, bytes) else body.beginning(MAX_PAYLOAD_BYTES)
            return await to_thread.run_sync(body_repeats, kept, encoding, key, self._max_body_bytes)
        return key in repr(outcome)
