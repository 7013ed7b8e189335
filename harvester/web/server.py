"""The web server of the daemon: its pages and its address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from aiohttp import web

from harvester.domain.errors import StoreError, UsageError
from harvester.domain.tasks.queue_reports import Urgency
from harvester.settings.addresses import is_this_machine, split_address
from harvester.web import health
from harvester.web.auth import as_page, guarded
from harvester.web.connections import BACKLOG, Connections
from harvester.web.gauges import gauges
from harvester.web.harvest_view import DatabaseReader, HarvestView
from harvester.web.metrics import CONTENT_TYPE, Metrics
from harvester.web.status import status_document

# Seconds. A scraper's idle connection must not delay the end of the daemon.
_SHUTDOWN_S = 1.0


@asynccontextmanager
async def serve(listen: str, token: str | None, harvest: HarvestView, metrics: Metrics) -> AsyncIterator[None]:
    """Serve `harvest` at `listen` (HOST:PORT) while the block runs; an empty address serves nothing.

    `metrics` must be the observer of its pipeline. Raises UsageError.
    """
    if not listen:
        yield
        return
    async with WebServer(listen, token, harvest, metrics):
        yield


class WebServer:
    """An async context manager that listens while it is open; port 0 picks a free one, see `url`.

    Raises UsageError for an address that other machines can reach without a token, or that cannot be listened on.
    """

    def __init__(self, listen: str, token: str | None, harvest: HarvestView, metrics: Metrics) -> None:
        self._host, self._port = split_address(listen)
        if token is None and not is_this_machine(self._host):
            raise UsageError(
                f"server.listen = {listen!a} can be reached from other machines, and no server.token is set.",
                remedy="Set server.token (HARVESTER_SERVER__TOKEN), or listen on 127.0.0.1.",
            )
        self._listen = listen
        self._token = token
        self._pages = Pages(harvest, metrics)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:

            def protocol() -> asyncio.Protocol:
                assert runner.server is not None  # noqa: S101  # it is there from the setup on
                return runner.server()

            connections = Connections(protocol)
            app = web.Application(middlewares=[connections.middleware, guarded(self._token)])
            app.add_routes(self._pages.routes())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            try:
                server = await asyncio.get_running_loop().create_server(
                    connections.accept, self._host, self._port, backlog=BACKLOG
                )
            except OSError as error:
                raise UsageError(
                    f"The daemon cannot listen on server.listen = {self._listen!a}: {error.strerror or error}.",
                    remedy='Give server.listen another address, or "" to serve nothing.',
                ) from error
            stack.callback(server.close)
            self._port = server.sockets[0].getsockname()[1]
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:9464`."""
        return f"http://[{self._host}]:{self._port}" if ":" in self._host else f"http://{self._host}:{self._port}"


class Pages:
    """One method for each page."""

    def __init__(self, harvest: HarvestView, metrics: Metrics) -> None:
        self._harvest = harvest
        self._metrics = metrics
        self._database = DatabaseReader(harvest.reader, harvest.check_file)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all pages; each answers HEAD as well."""
        return [
            web.get("/", self.index),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/status.json", self.status),
        ]

    async def index(self, _request: web.Request) -> web.Response:
        """Answer with the names of the pages."""
        return as_page({"pages": [route.path for route in self.routes() if route.path != "/"]})

    async def healthz(self, _request: web.Request) -> web.Response:
        """Answer 200 while every stage reports in, else 503."""
        return _verdict(health.liveness(self._harvest.progress.beats, self._harvest.clock.monotonic()))

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer 200 while the daemon can work, else 503."""
        unwritable = await self._database.why_not_writable()
        conditions, refusal = self._harvest.progress.conditions, self._harvest.refusal
        return _verdict(health.readiness(unwritable, conditions, refusal, is_proven=self._metrics.is_key_proven))

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with the metrics, also while the database cannot be read."""
        page = self._metrics.exposition(gauges(self._harvest, await self._urgency()))
        return web.Response(body=page, headers={"content-type": CONTENT_TYPE})

    async def status(self, _request: web.Request) -> web.Response:
        """Answer with the whole status; 503 while the database cannot be read."""
        now_ms = self._harvest.clock.wall_ms()
        try:
            report, forecast = await self._database.read(lambda insights: self._harvest.read_status(insights, now_ms))
        except StoreError as error:
            return as_page({"error": error.sentence}, 503)
        return as_page(status_document(report, forecast, self._harvest, self._metrics))

    async def _urgency(self) -> Urgency | None:
        now_ms = self._harvest.clock.wall_ms()
        try:
            return await self._database.read(lambda insights: insights.urgency(now_ms))
        except StoreError:
            return None


def _verdict(verdict: health.Health) -> web.Response:
    return as_page(verdict.page, 200 if verdict.is_well else 503)
