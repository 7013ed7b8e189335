"""Rows 56 and 57: clients of the daemon's port that do not have the token."""

import asyncio
import json
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from harvester.web.connections import MAX_CONNECTIONS
from tests.faults.invariants import assert_kept
from tests.support.machine import needs_proc
from tests.support.shell import Gate, Running, Shell, stand_in, until

TOKEN = "tok-SECRET-12345678"

LOW_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
"""


@asynccontextmanager
async def daemon(shell: Shell) -> AsyncIterator[tuple[Running, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    shell.environ |= {"HARVESTER_SERVER__LISTEN": f"127.0.0.1:{port}", "HARVESTER_SERVER__TOKEN": TOKEN}
    running = await shell.start("run")
    await running.says("started")
    yield running, port


def descriptors(running: Running) -> int:
    return len(list(Path(f"/proc/{running.pid}/fd").iterdir()))


@needs_proc
async def test_row_56_idle_connections_take_no_descriptor_from_the_harvest(shell: Shell) -> None:
    # As many descriptors as a harvest needs, and more connections than that.
    shell.sabotage(LOW_LIMIT.format(soft=100, hard=300))
    gate = Gate()
    async with stand_in(gate, tasks=6, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        async with daemon(shell) as (running, port):
            before = descriptors(running)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
            for one in idle[::2]:
                with suppress(OSError):
                    one.sendall(b"GET /healthz HTT")
            await until(lambda: descriptors(running) <= before + MAX_CONNECTIONS + 4)
            gate.open()
            await until(lambda: shell.count("harvested") == 6)
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
            soft = (Path("/proc") / str(running.pid) / "limits").read_text()
            running.signal(signal.SIGTERM)
            ended = await running.ended()
        for one in idle:
            one.close()

        assert (ended.code, answer[:15]) == (143, b"HTTP/1.1 200 OK"), ended.stderr
        assert any(line.split()[3:5] == ["300", "300"] for line in soft.splitlines() if "open files" in line)
        assert_kept(shell, api)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 400


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    b'\x1b[31mX\r\n{"event":"forged"}\r\n\r\n',
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + TOKEN.encode() + b"x" * 9000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
    b"POST /healthz HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100_000,
)


async def test_row_57_garbage_is_a_line_of_json_without_its_bytes_and_the_token_is_in_none(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        async with daemon(shell) as (running, port):
            for _ in range(3):
                for bytes_sent in GARBAGE:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    with suppress(OSError):
                        writer.write(bytes_sent)
                        await writer.drain()
                        await reader.read()
                    writer.close()
            await until(lambda: shell.count("harvested") == 3)
            running.signal(signal.SIGTERM)
            ended = await running.ended()

        assert ended.code == 143, ended.stderr
        assert_kept(shell, api)
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    reported = [event for event in events if event["event"] == "a library reports a problem"]
    assert {event["library"] for event in reported} == {"aiohttp.server"}
    # One for each kind, not for each time.
    assert len(reported) == len({event["error"] for event in reported}) > 1
    for foreign in ("forged", "tok-SECRET", "\\u001b", "\\x1b", "xxxx"):
        assert foreign not in ended.stderr
