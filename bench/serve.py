"""Serves prepared task bodies from memory, in its own process: the API without its own cost."""

import argparse
import asyncio
import struct
import sys
import zlib
from collections.abc import Callable

from aiohttp import web

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.middlewares import accepts_gzip

DISTINCT_BODIES = 4
GZIP_LEVEL = 6
GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")


async def prepare(tasks: int, duration_s: float, options: tuple[str, ...] = ()) -> tuple[list[str], list[bytes]]:
    """Return ids, and a few distinct bodies without their first field, the id."""
    settings = SimulatorSettings(
        tasks=tasks,
        duration_s=(duration_s, duration_s),
        options=options,
        processing_median_s=0.001,
        processing_sigma=0,
        age_s=7200,
    )
    simulator = Simulator(settings, clock=SimulatorClock())
    ids = list(simulator.catalogue.ids())
    return ids, [simulator.catalogue.document(task_id).partition(b",")[2] for task_id in ids[:DISTINCT_BODIES]]


def deflated(text: bytes, ending: int = zlib.Z_FINISH) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush(ending)


def gzipping(ids: list[str], bodies: list[bytes]) -> Callable[[str], bytes]:
    """Return a function from a task to its body as one gzip member; all but the first field is prepared here."""
    packed = [deflated(body) for body in bodies]
    trailers: dict[str, bytes] = {}
    for task_id in ids:
        start, body = opening(task_id), one_of(bodies, task_id)
        trailers[task_id] = struct.pack("<LL", zlib.crc32(body, zlib.crc32(start)), len(start) + len(body))

    def gzipped(task_id: str) -> bytes:
        start = deflated(opening(task_id), zlib.Z_SYNC_FLUSH)
        return b"".join([GZIP_HEADER, start, one_of(packed, task_id), trailers[task_id]])

    return gzipped


def opening(task_id: str) -> bytes:
    return b'{"_id":"%s",' % task_id.encode()


def one_of(bodies: list[bytes], task_id: str) -> bytes:
    return bodies[int(task_id[-2:], 16) % len(bodies)]


async def serve(tasks: int, duration_s: float, options: tuple[str, ...], *, gzip: bool) -> None:
    ids, bodies = await prepare(tasks, duration_s, options)
    known = set(ids)
    gzipped = gzipping(ids, bodies) if gzip else None

    async def retrieve(request: web.Request) -> web.Response:
        task_id = request.match_info["task_id"]
        if task_id not in known:
            raise web.HTTPNotFound
        if gzipped is not None and accepts_gzip(request.headers.get("accept-encoding", "")):
            headers = {"content-encoding": "gzip"}
            return web.Response(body=gzipped(task_id), headers=headers, content_type="application/json")
        return web.Response(body=opening(task_id) + one_of(bodies, task_id), content_type="application/json")

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"_id": request.match_info["task_id"], "model_name": "marengo3.0", "status": "ready"})

    app = web.Application()
    app.router.add_get("/v1.3/embed/tasks/{task_id}", retrieve)
    app.router.add_get("/v1.3/embed/tasks/{task_id}/status", status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print("\n".join([f"http://127.0.0.1:{port}", *ids, ""]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--duration-s", type=float, default=3600)
    parser.add_argument("--options", default="visual,audio")
    parser.add_argument("--gzip", action="store_true", help="to whoever accepts it")
    arguments = parser.parse_args()
    options = tuple(arguments.options.split(","))
    asyncio.run(serve(arguments.tasks, arguments.duration_s, options, gzip=arguments.gzip))
