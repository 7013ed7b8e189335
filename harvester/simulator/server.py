"""The stand-in on a real socket."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Middleware

from harvester.simulator.admin import Admin
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.faults import Fault, FaultSchedule
from harvester.simulator.limits import RateLimiter
from harvester.simulator.middlewares import admitted, compressed, problems_as_json, recorded
from harvester.simulator.request_log import RequestLog
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.v1.endpoints import EmbedTasks
from harvester.simulator.v2.endpoints import EmbedTasksV2

API_PREFIX = "/v1.3"
# A video of 36 MB in base64, the longest that a request may hold, and a little more.
_MAX_BODY_BYTES = 64 << 20
# Seconds. A person who stops a rehearsal does not want to wait for the last answer.
_SHUTDOWN_S = 0.1
# A server listens on every address, but a client connects to one.
_REACHABLE_AS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # names, not a binding


class Simulator:
    """A stand-in for the TwelveLabs API: an async context manager that listens while it is open.

    `port` 0 picks a free one; see `base_url`. `middlewares` run between the request log and the API: they get
    each answer before it is sent and may replace it. `faults` are the rules by which it misbehaves. Raises UsageError
    for an invalid rule, and OSError if it cannot listen or write `log_file`.
    """

    def __init__(  # noqa: PLR0913  # all but the first are named
        self,
        settings: SimulatorSettings | None = None,
        *,
        clock: SimulatorClock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log_file: Path | None = None,
        middlewares: Sequence[Middleware] = (),
        faults: Sequence[Fault] = (),
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self.clock = clock or SimulatorClock()
        self.catalogue = Catalogue(self.settings, self.clock)
        self.requests = RequestLog(log_file)
        self.faults = FaultSchedule(faults, self.clock, self.catalogue)
        self._host = host
        self._port = port
        self._middlewares = tuple(middlewares)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.requests)
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port).start()
            self._port = runner.addresses[0][1]
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def root_url(self) -> str:
        """The address of the server for programs on this machine, without a path: `http://127.0.0.1:8080`."""
        host = _REACHABLE_AS.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL for a client, in place of `https://api.twelvelabs.io/v1.3`."""
        return self.root_url + API_PREFIX

    def _app(self) -> web.Application:
        api = web.Application(middlewares=self._api_middlewares())
        for calls in (EmbedTasks, EmbedTasksV2):
            api.add_routes(calls(self.settings, self.clock, self.catalogue).routes())
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_subapp(API_PREFIX, api)
        app.add_routes(Admin(self.clock, self.catalogue, self.requests, self.faults).routes())
        return app

    def _api_middlewares(self) -> list[Middleware]:
        """Return the middlewares from the outermost to the innermost."""
        return [
            recorded(self.clock, self.requests),
            *self._middlewares,
            *([compressed()] if self.settings.gzip else []),
            self.faults.middleware(),
            problems_as_json(),
            admitted(self.settings, self.clock, RateLimiter(self.settings)),
        ]
