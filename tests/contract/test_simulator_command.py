"""`harvester simulate` as a user starts and stops it."""

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from harvester.cli.simulate import simulate
from harvester.domain.errors import UsageError
from harvester.domain.tasks.task_id import created_at_hint_ms
from harvester.simulator import Simulator

COMMAND = "import typer; from harvester.cli.simulate import simulate; typer.run(simulate)"


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the command on a free port; yield the process and the base URL that it announces."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", COMMAND, "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        announced = (await process.stderr.readline()).decode()
        found = re.match(r"Listening on (http://127\.0\.0\.1:\d+/v1\.3) ", announced)
        assert found is not None, announced
        yield process, found[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_ids_go_to_stdout_and_the_next_steps_to_stderr() -> None:
    async with started("--tasks", "3", "--print-ids", "--key", "right") as (process, base_url):
        async with (
            aiohttp.ClientSession(base_url + "/", headers={"x-api-key": "right"}) as http,
            http.get("embed/tasks") as answer,
        ):
            held = [task["_id"] for task in (await answer.json())["data"]]
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert stdout.decode().splitlines() == held[::-1]
    assert f"export HARVESTER_API__BASE_URL={base_url}\n" in stderr.decode()
    assert "harvester add --file ids.txt" in stderr.decode()
    assert "right" not in stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly_even_while_a_client_is_connected(number: signal.Signals) -> None:
    async with (
        started() as (process, base_url),
        aiohttp.ClientSession(base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        async with http.get("embed/tasks") as answer:
            assert answer.status == 200
        process.send_signal(number)
        _, stderr = await process.communicate()
    assert process.returncode == 0
    assert stderr.decode().endswith("Stopped after 1 requests.\n")


async def test_the_clock_starts_at_the_given_time() -> None:
    async with started("--print-ids", "--start-at", "2025-01-01T00:00:00Z", "--speed", "0") as (process, _):
        assert process.stdout is not None
        hint_ms = created_at_hint_ms((await process.stdout.readline()).decode().strip())
    assert hint_ms is not None
    assert 0 < 1_735_689_600_000 - hint_ms <= 10_000


async def test_faults_are_served_by_the_rules_of_a_file_and_summed_up(tmp_path: Path) -> None:
    rules = tmp_path / "faults.toml"
    rules.write_text('[[fault]]\nkind = "null"\ntimes = 2\n[[fault]]\nkind = "dropped"\nfrom_s = 3600\n')
    async with (
        started("--faults", str(rules)) as (process, base_url),
        aiohttp.ClientSession(base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        bodies = []
        for _ in range(3):
            async with http.get("embed/tasks") as answer:
                bodies.append(await answer.json())
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
    assert (bodies[:2], bodies[2]["data"] != []) == ([None, None], True)
    assert stderr.decode().endswith("Stopped after 3 requests.\nFaults served: 2 null.\n")


def test_every_option_about_version_2_reaches_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Simulator] = []
    monkeypatch.setattr("harvester.cli.simulate.serve_until_stopped", lambda one, _announce: served.append(one))
    given: dict[str, Any] = {
        "api": "both",
        "dimension": 128,
        "uncertainty": True,
        "fused": True,
        "truncated_ratio": 0.5,
        "expiry": "mixed",
        "cross_version": "all",
        "unknown_status": 400,
    }
    simulate(media="image, audio", models="marengo3.5", failures="source,size", **given)
    (simulator,) = served
    assert {name: getattr(simulator.settings, name) for name in given} == given
    lists = (simulator.settings.media, simulator.settings.models, simulator.settings.failures)
    assert lists == (("image", "audio"), ("marengo3.5",), ("source", "size"))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Cannot listen on port {port} of 127.0.0.1"):
            simulate(port=port)


def test_a_request_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"request log .*missing.* cannot be written"):
        simulate(port=0, log=tmp_path / "missing" / "requests.jsonl")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"duration_s": "long"}, "--duration-s cannot be read: 'long'"),
        ({"duration_s": "1,2,3"}, "--duration-s cannot be read: '1,2,3'"),
        ({"processing_s": "20,"}, "--processing-s cannot be read: '20,'"),
        ({"start_at": "noon"}, "'noon' is not an RFC 3339 date-time"),
        ({"speed": float("inf")}, "speed of 0 or more"),
        ({"options": "visual,smell"}, "no embedding option 'smell'"),
        ({"media": "video,smell"}, "medium 'smell' is unknown"),
        ({"models": "marengo3.0", "media": "image"}, "No model of marengo3.0 embeds image"),
        ({"faults": Path("absent.toml")}, "absent.toml cannot be read: No such file or directory"),
    ],
)
def test_an_argument_that_cannot_be_worked_with_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        simulate(**arguments)
