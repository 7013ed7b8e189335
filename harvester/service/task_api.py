"""Requests about one task."""

from typing import Protocol

from harvester.domain.tasks.task import ApiVersion
from harvester.ports.api import Response
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit


class TaskApi(Protocol):
    """Sends requests about one task; see `harvester.api.client.Client`."""

    async def fetch_task(  # noqa: PLR0913  # the last three have defaults
        self,
        task_id: str,
        permit: Permit,
        reservation: Reservation,
        *,
        is_fresh: bool = False,
        version: ApiVersion | None = None,
        options: tuple[str, ...] = (),
    ) -> Response:
        """Send the request that `permit` is for; `reservation` grows with the answer.

        `is_fresh`: use a new connection. `version`: the API version to ask, None for the configured one.
        `options`: the embedding options to retrieve, none for all.
        """
        ...
