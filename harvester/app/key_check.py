"""Try the API key, and name a key that the API refuses."""

from collections.abc import Callable
from dataclasses import replace

from harvester.api.client import Client
from harvester.app import configured
from harvester.domain.errors import KeyRefusedError
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import NotFound, Outcome, Refused
from harvester.domain.tasks.task import DAY_MS, other_version
from harvester.service.clock import SystemClock
from harvester.settings.model import Settings
from harvester.throttle.throttle import Throttle


async def ask_once(settings: Settings, key: Callable[[], str]) -> tuple[ListPage | Outcome, float | None]:
    """Request a list of one task outside every budget; return the answer and the skew of this machine's clock (s).

    An API version that is not available for the key says nothing about the key, so the other one is asked then.
    """
    clock = SystemClock()
    throttle = Throttle(RateLimit(0), clock.monotonic)
    async with Client(configured.client_settings(settings), key, throttle) as client:
        query = ListQuery(started_at_ms=clock.wall_ms() - DAY_MS, page_limit=1)
        answer = await client.list_tasks(query, throttle.take(Endpoint.LIST))
        is_not_served = isinstance(answer, NotFound) or (isinstance(answer, Refused) and not answer.is_key_invalid)
        if is_not_served:
            query = replace(query, version=other_version(settings.api.first_version))
            second = await client.list_tasks(query, throttle.take(Endpoint.LIST))
            answer = second if isinstance(second, ListPage) else answer
        return answer, client.clock_skew_s


def key_refused(refusal: Refused) -> KeyRefusedError:
    """Return the error for an answer that refuses the key."""
    return KeyRefusedError(
        f"The API refuses the key: {refusal.message.rstrip('.')} ({refusal.code}).",
        remedy="Check TWELVELABS_API_KEY or api.key_file. No task was changed by this.",
    )
