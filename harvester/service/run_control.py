"""Stops a harvest, and wakes its scheduler."""

import anyio

from harvester.domain.tasks.outcomes import Refused
from harvester.service.progress import Progress


class RunControl:
    """Stops a harvest, and wakes its scheduler when something has changed; create it inside the event loop.

    `refusal` is the answer by which the API refused the key, None before that.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._scopes: list[tuple[anyio.CancelScope, float]] = []
        self.refusal: Refused | None = None
        self.is_stopping = False
        self.changed = anyio.Event()
        """Is set at the next change, and replaced by another event."""

    def stop(self) -> None:
        """Start no new request; those under way have their grace time to finish. Safe to call twice."""
        if self.is_stopping:
            return
        self.is_stopping = True
        for scope, grace_s in self._scopes:
            scope.deadline = anyio.current_time() + grace_s
        self.wake_up()

    def refuse(self, outcome: Refused) -> None:
        """Stop because the API does not accept the key."""
        self.refusal = self.refusal or outcome
        self.stop()

    def cancel_after_stop(self, scope: anyio.CancelScope, grace_s: float) -> None:
        """Cancel `scope` `grace_s` seconds after a later stop."""
        self._scopes.append((scope, grace_s))

    def record_done(self, requests: int) -> None:
        """Record that this many requests are no longer under way."""
        self._progress.in_flight -= requests
        self.wake_up()

    def wake_up(self) -> None:
        """Wake the scheduler at once."""
        self.changed.set()
        self.changed = anyio.Event()
