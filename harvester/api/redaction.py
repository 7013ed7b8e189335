"""Takes secrets out of what an answer brings, before anything of it is shown or stored."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harvester.api.response import Reply, is_success
from harvester.domain.tasks.outcomes import Outcome, Transient

HIDDEN_KEY = "[the API key]"
"""Stands where an answer repeats the key."""

HIDDEN_PASSWORD = "[the proxy's password]"  # noqa: S105  # what is shown in its place

TELLING_CHARACTERS = 8
"""A beginning of the key as long as this is hidden too: a text may have been cut in its middle."""

SECRET_CHARACTERS = 16
"""Bodies are searched for keys from this length on: a shorter one, like a rehearsal's, is in good answers by chance."""

MAX_TRACE_ID_CHARACTERS = 128


class Redaction:
    """Hides the key, as `key` gives it at the moment, and the `passwords` of a proxy."""

    def __init__(self, key: Callable[[], str], passwords: tuple[str, ...] = ()) -> None:
        self._key = key
        self._passwords = passwords

    def secret(self) -> bytes:
        """Return what must not occur in a body; nothing if the key is too short to be told from chance."""
        key = self._key().encode()
        return key if len(key) >= SECRET_CHARACTERS else b""

    def reply(self, reply: Reply) -> Reply:
        """Return the reply as it may be shown and stored: UTF-8, without secrets, and without the body of an error.

        Each reply passes here. Its `size` stays that of the body as sent.
        """
        key = self.secret()
        if not is_success(reply.status):
            # The outcome says all of an error that is used.
            reply = reply.without_body()
        elif key and reply.repeats(key):
            # The body is decoded later, or kept compressed, where it could not be searched.
            reply = replace(reply.without_body(), outcome=Transient("The answer repeats the API key.", "key_echoed"))
        return replace(
            reply,
            outcome=reply.outcome and self.outcome(reply.outcome),
            trace_id=self.text(reply.trace_id or "")[:MAX_TRACE_ID_CHARACTERS] or None,
            encoding=self.text(reply.encoding or "") or None,
        )

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return the outcome with clean texts."""
        texts = {name: getattr(outcome, name, None) for name in ("message", "code", "status", "received_id")}
        changes: dict[str, Any] = {name: self.text(text) for name, text in texts.items() if isinstance(text, str)}
        return replace(outcome, **changes)

    def text(self, text: str) -> str:
        """Return the text in UTF-8 and without secrets."""
        # Bytes of a header that are not UTF-8 arrive as surrogates, which SQLite refuses.
        clean = text.encode("utf-8", "replace").decode()
        key = self._key()
        clean = clean.replace(key, HIDDEN_KEY)
        for password in self._passwords:
            clean = clean.replace(password, HIDDEN_PASSWORD)
        if key[:TELLING_CHARACTERS] in clean:
            # The text was cut in the middle of the key: by aiohttp's messages, or by the cap on a message.
            for length in range(len(key) - 1, TELLING_CHARACTERS - 1, -1):
                clean = clean.replace(key[:length], HIDDEN_KEY)
        return clean
