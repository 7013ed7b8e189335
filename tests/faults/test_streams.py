"""Row 53: standard streams that break, are full, missing, or have another encoding."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from harvester.simulator import Simulator
from tests.faults.invariants import assert_kept
from tests.support.machine import FULL, needs_full_device, needs_proc
from tests.support.scripted_api import ScriptedApi, as_json, ready, task_id
from tests.support.shell import PATIENCE_S, Gate, Shell, stand_in, until

AN_ID = task_id(1)
NAME = "\u6771\u4eac \U0001f600.mp4"


@asynccontextmanager
async def started(shell: Shell, *arguments: str, **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command with streams of the test's own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "harvester", *arguments),
        cwd=shell.folder,
        env=shell.environ,
        **({"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.DEVNULL} | streams),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def code_of(shell: Shell, *arguments: str, **streams: Any) -> int:
    async with started(shell, *arguments, **streams) as process, asyncio.timeout(PATIENCE_S):
        return await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def page(port: int, path: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        return await answer.json()


async def test_row_53_the_daemon_survives_the_reader_of_its_log_and_says_so(shell: Shell) -> None:
    gate, port = Gate(), free_port()
    async with stand_in(gate, tasks=4, duration_s=12) as api:
        shell.talks_to(api.base_url)
        shell.environ["HARVESTER_SERVER__LISTEN"] = f"127.0.0.1:{port}"
        await shell.add(api.catalogue.ids())
        reading, writing = os.pipe()
        async with started(shell, "run", stderr=writing) as daemon:
            os.close(writing)
            await until(lambda: bool(gate.arrived))
            os.close(reading)
            gate.open()
            await until(lambda: shell.count("harvested") == 4)
            ready_page = await page(port, "/readyz")
            daemon.send_signal(signal.SIGTERM)
            code = await daemon.wait()

        assert code == 143
        assert ready_page["conditions"] == {
            "log": "cannot be written: Broken pipe; the harvest continues without it",
        }
        assert ready_page["status"] == "ready"
        assert_kept(shell, api)


async def harvested_with(shell: Shell, api: Simulator, stderr: int) -> None:
    shell.talks_to(api.base_url)
    shell.environ["HARVESTER_LOG__LEVEL"] = "debug"
    assert await code_of(shell, "backfill", *api.catalogue.ids(), stderr=stderr) == 0
    assert_kept(shell, api)


async def test_row_53_a_log_without_a_reader_holds_no_harvest_up(shell: Shell) -> None:
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * size)
    try:
        async with stand_in(tasks=3, duration_s=12) as api:
            await harvested_with(shell, api, writing)
    finally:
        os.close(reading)
        os.close(writing)


@needs_full_device
async def test_row_53_a_full_disk_under_the_log_holds_no_harvest_up(shell: Shell) -> None:
    full = os.open(FULL, os.O_WRONLY)
    try:
        async with stand_in(tasks=3, duration_s=12) as api:
            await harvested_with(shell, api, full)
        # This command writes its message itself, a harvest does so in a thread.
        assert await code_of(shell, "show", AN_ID, "--json", "--raw", stderr=full) == 2
    finally:
        os.close(full)


def standard_streams(pid: int) -> list[str]:
    """Return what the descriptors 0, 1 and 2 of that process are."""
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (0, 1, 2)]


@needs_proc
async def test_row_53_without_any_stream_the_harvest_goes_on_and_the_database_is_no_stream(shell: Shell) -> None:
    gate = Gate()
    async with stand_in(gate, tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$0" -m harvester backfill "$@" <&- >&- 2>&-', sys.executable, *api.catalogue.ids()),
            cwd=shell.folder,
            env=shell.environ,
        )
        await until(lambda: bool(gate.arrived))
        streams = standard_streams(process.pid)
        gate.open()

        assert await process.wait() == 0
        # Neither the database nor a connection has one of these descriptors.
        assert streams == [os.devnull] * 3
        assert_kept(shell, api)


async def test_row_53_json_is_ascii_and_text_escapes_what_the_stream_cannot_hold(
    shell: Shell, api: ScriptedApi
) -> None:
    document = ready(AN_ID, input_filename=NAME)
    api.holds(AN_ID, as_json(document))
    assert (await shell.run("backfill", AN_ID)).code == 0

    for environ in (
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        shown, given_back = [await shell.run("show", AN_ID, *flags, **environ) for flags in ((), ("--json",))]
        assert (shown.code, given_back.code) == (0, 0), environ
        assert "\\u6771\\u4eac \\U0001f600.mp4" in shown.stdout
        assert given_back.stdout.isascii()
        assert document == json.loads(given_back.stdout)


@needs_full_device
async def test_row_53_the_exit_code_reports_data_that_found_no_space_or_no_reader(shell: Shell) -> None:
    await shell.add([AN_ID])
    full = os.open(FULL, os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with started(shell, "status", stdout=full, stderr=asyncio.subprocess.PIPE) as process:
            _, stderr = await process.communicate()
        assert process.returncode == 4
        assert b"standard output cannot be used: No space left on device" in stderr
        async with started(shell, "status", "--json", stdout=writing, stderr=asyncio.subprocess.PIPE) as process:
            _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (141, b"")
    finally:
        os.close(full)
        os.close(writing)
