"""Serves prepared task bodies from memory, in its own process: the API without its own cost."""

import argparse
import asyncio
import sys

from aiohttp import web

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

DISTINCT_BODIES = 4


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


async def serve(tasks: int, duration_s: float, options: tuple[str, ...]) -> None:
    ids, bodies = await prepare(tasks, duration_s, options)
    known = set(ids)

    async def retrieve(request: web.Request) -> web.Response:
        task_id = request.match_info["task_id"]
        if task_id not in known:
            raise web.HTTPNotFound
        body = bodies[int(task_id[-2:], 16) % len(bodies)]
        return web.Response(body=b'{"_id":"%s",%s' % (task_id.encode(), body), content_type="application/json")

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
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.tasks, arguments.duration_s, tuple(arguments.options.split(","))))
