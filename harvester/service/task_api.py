"""Requests about one task, and the decoding of their bodies."""

from typing import Protocol

from harvester.api.body_buffer import SpooledBody
from harvester.api.response import Response
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import ApiVersion
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit


class TaskApi(Protocol):
    """Sends requests about one task; see `harvester.api.client.Client`."""

    async def fetch_task(
        self,
        task_id: str,
        permit: Permit,
        reservation: Reservation,
        *,
        is_fresh: bool = False,
        version: ApiVersion | None = None,
    ) -> Response:
        """Send the request that `permit` is for; `reservation` grows with the answer.

        `is_fresh`: use a new connection. `version`: the API version to ask, None for the configured one.
        """
        ...


class BodyDecoder(Protocol):
    """Decodes the bodies of retrievals; see `harvester.service.decode_pool.Decoder`."""

    workers: int

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        """Return the meaning of a retrieval's body."""
        ...
