"""Rows 30 to 32: settings are refused by name, and the key is in the request header and nowhere else."""

import asyncio
import gzip
import json
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import pytest

from harvester.simulator import Fault
from tests.faults.harvests import harvest_after
from tests.faults.invariants import assert_kept, said_about
from tests.support.machine import needs_proc
from tests.support.scripted_api import Answer, ScriptedApi, problem, ready, task_id
from tests.support.shell import (
    KEY,
    Gate,
    Shell,
    bytes_of_the_folder,
    command_lines,
    stand_in,
    until,
    unused_address,
)
from tests.support.thorough import thorough

AN_ID, ANOTHER_ID = task_id(1), task_id(2)


@needs_proc
async def test_row_31_the_key_is_sent_and_shown_nowhere(shell: Shell) -> None:
    shell.starts_cold = True
    gate = Gate(let_through=3)
    async with stand_in(gate, tasks=4, duration_s=150, key=KEY) as api:
        shell.talks_to(api.base_url)
        shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

        harvest = await shell.start("--debug", "backfill", *api.catalogue.ids())
        await until(lambda: len(gate.arrived) == 4 and shell.count("harvested") == 3)
        lines = command_lines(harvest)
        while_running = bytes_of_the_folder(shell)
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert len(lines) > 1
        for place in (*lines, while_running, bytes_of_the_folder(shell), ended.stdout.encode(), ended.stderr.encode()):
            assert KEY.encode() not in place
        assert ended.stderr.count('"event": "harvested"') == 4
        assert_kept(shell, api)


async def test_row_31_failures_show_no_key_even_where_the_api_repeats_it(shell: Shell, api: ScriptedApi) -> None:
    echo = f"The header x-api-key: {KEY} was received."
    api.holds(AN_ID, Answer(f"<html>{echo}</html>".encode(), 502), problem(400, "parameter_invalid", echo))
    api.will_say(f"embed/tasks/{AN_ID}/status", problem(400, "parameter_invalid", echo))
    gone = problem(404, "resource_not_exists", echo)
    api.holds(ANOTHER_ID, gone)
    shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

    runs = [await shell.run("--debug", "backfill", AN_ID, ANOTHER_ID, "--no-wait") for _ in range(6)]
    shown = await shell.run("show", AN_ID)
    status = await shell.run("status")

    assert [run.code for run in runs] == [1] * 6
    assert shell.states()[AN_ID] == "rejected"
    for ended in (*runs, shown, status):
        assert KEY not in ended.stdout + ended.stderr
    assert KEY.encode() not in bytes_of_the_folder(shell)
    assert "was received" in shown.stdout
    sizes = shell.rows("SELECT bytes FROM attempts WHERE http_status = 404 AND message LIKE '%was received%'")
    assert set(sizes) == {(len(gone.body),)}


@pytest.mark.parametrize("packed", [False, True])
async def test_row_31_results_that_repeat_the_key_are_not_kept(shell: Shell, api: ScriptedApi, *, packed: bool) -> None:
    headers = {"x-trace-id": f"trace of {KEY}"}
    # The first would be rejected and its body kept, the second would be stored with all its fields.
    bodies = [{"status": "ready", "video_embedding": {"segments": [KEY]}}, ready(ANOTHER_ID, echo=KEY)]
    for one, document in zip((AN_ID, ANOTHER_ID), bodies, strict=True):
        body = json.dumps(document).encode()
        if packed:
            body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
        api.holds(one, Answer(body, headers=headers))
    shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

    ended = await shell.run("--debug", "backfill", AN_ID, ANOTHER_ID, "--no-wait")
    shown = await shell.run("show", AN_ID)

    assert set(shell.states().values()).isdisjoint({"harvested", "rejected"}), shell.states()
    assert "repeats the API key" in shown.stdout
    assert KEY not in ended.stdout + ended.stderr + shown.stdout
    assert KEY.encode() not in bytes_of_the_folder(shell)


async def test_row_31_a_refused_key_is_not_repeated(shell: Shell, api: ScriptedApi) -> None:
    api.holds(AN_ID, problem(401, "api_key_invalid", f"The key {KEY} is invalid."))

    ended = await shell.run("--debug", "backfill", AN_ID, HARVESTER_LOG__LEVEL="debug")

    assert ended.code == 3
    assert "The API refuses the key: " in ended.stderr
    assert KEY not in ended.stderr


REQUEST, READ = "aiohttp.ClientSession._request", "harvester.api.client.Client._read"


@pytest.mark.parametrize(
    ("place", "command"),
    [
        *((REQUEST, "backfill"), (READ, "run")),
        *(pytest.param(READ, one, marks=thorough) for one in ("backfill", "discover")),
        *(pytest.param(REQUEST, one, marks=thorough) for one in ("run", "discover")),
    ],
)
async def test_row_31_the_traceback_of_a_bug_shows_no_key(
    shell: Shell, api: ScriptedApi, place: str, command: str
) -> None:
    module, name, method = place.rsplit(".", 2)
    shell.sabotage(
        f"import {module}\n"
        "async def broken(*arguments, **options):\n    raise RuntimeError('broken for the test')\n"
        f"{module}.{name}.{method} = broken\n"
    )

    await shell.add([AN_ID])
    shell.environ |= {"HARVESTER_LOG__LEVEL": "debug", "HARVESTER_SERVER__LISTEN": unused_address()}
    ended = await shell.run("--debug", command)

    assert ended.code == 70
    assert "Traceback" in ended.stderr
    assert "broken for the test" in ended.last_line
    assert KEY not in ended.stderr
    assert api.asked == [] or "_read" in place


@needs_proc
async def test_row_31_a_key_from_a_file_is_in_no_environment_either(shell: Shell) -> None:
    shell.starts_cold = True
    gate = Gate()
    async with stand_in(gate, tasks=1, key=KEY) as api:
        shell.talks_to(api.base_url)
        del shell.environ["TWELVELABS_API_KEY"]
        (shell.folder / "key").write_text(f"{KEY}\n")

        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_API__KEY_FILE="key")
        await until(lambda: len(gate.arrived) == 1)
        environ = await asyncio.to_thread(Path(f"/proc/{harvest.pid}/environ").read_bytes)
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert KEY.encode() not in environ
        assert b"KEY_FILE=key" in environ


async def test_row_31_the_settings_say_that_there_is_a_key_and_not_which(shell: Shell) -> None:
    for options in ([], ["--json"]):
        ended = await shell.run("config", *options)

        assert KEY not in ended.stdout
        assert f"set, {len(KEY)} characters, from TWELVELABS_API_KEY" in ended.stdout


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"TWELVELABS_API_KEY": None}, ["There is no API key.", "Set TWELVELABS_API_KEY, or let api.key_file name"]),
        ({"TWELVELABS_API_KEY": " "}, ["from TWELVELABS_API_KEY is blank", "Set TWELVELABS_API_KEY"]),
        ({"TWELVELABS_API_KEY": f"{KEY}\n"}, ["contains spaces, line breaks", "Set TWELVELABS_API_KEY"]),
        (
            {"HARVESTER_API__BASE_URL": "http://api.example.com/v1.3"},
            ["from HARVESTER_API__BASE_URL", "the key would be sent unencrypted", "Correct it there"],
        ),
        ({"HARVESTER_RATE__BRUST": "2"}, ["HARVESTER_RATE__BRUST", "Did you mean HARVESTER_RATE__BURST?"]),
        ({"HARVESTER_CONFIG": "own.toml"}, ["own.toml sets harvest.concurency", "Did you mean harvest.concurrency?"]),
    ],
    ids=["no key", "blank key", "key with a line break", "plain http", "unknown variable", "unknown setting"],
)
async def test_row_30_what_cannot_be_worked_with_is_refused_by_name_before_anything_is_done(
    shell: Shell, environ: dict[str, str | None], parts: list[str]
) -> None:
    (shell.folder / "own.toml").write_text("[harvest]\nconcurency = 3\n")
    for name, value in environ.items():
        shell.environ.pop(name, None)
        shell.environ |= {} if value is None else {name: value}

    ended = await shell.run("backfill", AN_ID)

    assert (ended.code, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended.stderr
    assert [part for part in parts if part not in ended.stderr] == [], ended.stderr
    assert KEY not in ended.stderr
    assert [path.name for path in shell.folder.iterdir()] == ["own.toml"]


async def test_row_31_a_key_that_a_result_spells_with_escapes_or_far_behind_is_not_stored(shell: Shell) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in KEY)
    far = f'{{"filler":"{"x" * 2_000_000}","name":"{KEY}"}}'
    async with stand_in(tasks=6, duration_s=12) as api:
        in_a_field, in_a_segment, in_a_rejected_one, far_behind = hit = api.catalogue.ids()[:4]
        api.faults.add(Fault(kind="key_escaped", tasks=(in_a_field,)))
        change = {
            in_a_segment: lambda body: body.replace(
                b'"embedding_scope":"clip"', b'"embedding_scope":"%s"' % escaped.encode(), 1
            ),
            in_a_rejected_one: lambda body: body.replace(b'"float":[', b'"%s":1,"float":[null,' % escaped.encode(), 1),
            far_behind: lambda body: body[:-1] + b',"far":' + far.encode() + b"}",
        }
        api.catalogue.document = spelling(api.catalogue.document, change)  # type: ignore[method-assign]
        shell.talks_to(api.base_url)
        runs = [
            await shell.run("backfill", *api.catalogue.ids(), "--no-wait", HARVESTER_LOG__LEVEL="debug")
            for _ in range(3)
        ]

        assert [run.code for run in runs] == [1, 1, 1]
        assert_kept(shell, api, dict.fromkeys(hit, "pending"))
    assert {("key_echoed", "The answer repeats the API key.")} == {
        one for hit_id in hit for one in said_about(shell, hit_id)
    }
    for place in (bytes_of_the_folder(shell), *(run.stderr.encode() + run.stdout.encode() for run in runs)):
        assert KEY.encode() not in place
        assert escaped.encode() not in place


def spelling(real: Callable[..., bytes], change: Mapping[str, Callable[[bytes], bytes]]) -> Callable[..., bytes]:
    def document(task_id: str, *rest: object) -> bytes:
        return change.get(task_id, bytes)(real(task_id, *rest))

    return document


async def test_row_31_the_status_page_shows_no_key(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with stand_in(tasks=2, duration_s=12, key="another") as api, aiohttp.ClientSession() as http:
        shell.talks_to(api.base_url)
        api.faults.add(Fault(kind="problem", status=500, value=f"The key {KEY} is out of order."))
        await shell.add(api.catalogue.ids())
        daemon = await shell.start("run", HARVESTER_SERVER__LISTEN=f"127.0.0.1:{port}", HARVESTER_LOG__LEVEL="debug")
        await until(lambda: any(shell.rows("SELECT count(*) FROM attempts")[0]))
        pages = {}
        for path in ("/", "/healthz", "/readyz", "/metrics", "/status.json"):
            async with http.get(f"http://127.0.0.1:{port}{path}") as page:
                pages[path] = str(page.status) + await page.text() + str(page.headers)
        daemon.signal(signal.SIGTERM)
        ended = await daemon.ended()

    assert ended.code == 143, ended.stderr
    assert pages["/status.json"].startswith("200")
    for text in (*pages.values(), ended.stdout, ended.stderr):
        assert KEY not in text


async def test_row_32_a_redirect_to_another_host_is_not_followed(shell: Shell) -> None:
    async with stand_in(tasks=7, duration_s=12) as elsewhere, stand_in(tasks=7, duration_s=12) as api:
        hit = dict(zip(api.catalogue.ids(), (301, 302, 303, 307, 308), strict=False))
        for task_id, status in hit.items():
            target = f"{elsewhere.base_url}/embed/tasks/{task_id}"
            api.faults.add(Fault(kind="redirect", tasks=(task_id,), status=status, value=target, times=1))

        await harvest_after(shell, api, dict.fromkeys(hit, "redirect"))

        assert elsewhere.requests.count() == 0
    reported = {said_about(shell, task_id)[0][1] for task_id in hit}
    assert {f"HTTP {status}: redirects are not followed; check api.base_url." for status in hit.values()} == reported
