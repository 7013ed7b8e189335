"""What a person sees where nothing answers like the API: `backfill` ends, the daemon goes on, and both say why."""

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.raw_server import listening, saying, whole
from tests.support.scripted_api import task_id
from tests.support.shell import Shell, stand_in, unused_address
from tests.support.thorough import thorough

A_SECOND_FOR_A_MINUTE = "import harvester.service.run_options as options; options.NOT_WAITED_FOR_S = 1.0"
A_LINE_AT_ONCE = "import harvester.cli.harvest_display as display; display.PLAIN_EVERY_S = 0.2"
PAGE = whole(
    b"<html>\n<head><title>\nAccess denied\n</title></head>by the proxy</html>", headers=b"content-type: text/html\r\n"
)

IDS = [task_id(number) for number in range(5)]


@asynccontextmanager
async def elsewhere(kind: str) -> AsyncIterator[str]:
    """An address at which something else than the API answers, or nothing."""
    if kind == "no such host":
        yield "https://api.twelvelabs.invalid/v1.3"
    elif kind == "refused":
        yield f"http://{unused_address()}/v1.3"
    elif kind == "page":
        async with listening(saying(PAGE)) as (address, _):
            yield f"http://{address}"
    else:
        async with stand_in(tasks=5) as api:
            yield f"{api.root_url}/v9"


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("refused", r"No connection: .*"),
        ("page", r"The answer is a page, not JSON: 'Access denied'\."),
        pytest.param("no such host", r"The name of the API's host was not found.*", marks=thorough),
        pytest.param("wrong path", r".*404.*|.*Not Found.*", marks=thorough),
    ],
)
async def test_a_backfill_ends_by_itself_where_nothing_answers_like_the_api(shell: Shell, kind: str, what: str) -> None:
    shell.sabotage(A_SECOND_FOR_A_MINUTE)
    async with elsewhere(kind) as url:
        shell.talks_to(url)
        await shell.add(IDS)

        ended = await shell.run("backfill")

    assert ended.code == 1
    sentence = re.escape(f"api.base_url ({url}) has not answered like the API so far, the last: ")
    assert re.search(f"{sentence}({what}) Check api\\.base_url, the network and any proxy", ended.stderr), ended.stderr
    assert "does not know" not in ended.stderr, "what another server denies says nothing about the ids"
    assert set(shell.states().values()) == {"pending"}


async def test_the_daemon_goes_on_and_says_so_everywhere(shell: Shell) -> None:
    pages, nowhere = unused_address(), f"http://{unused_address()}/v1.3"
    shell.talks_to(nowhere)
    shell.environ |= {"HARVESTER_SERVER__LISTEN": pages, "HARVESTER_SERVER__TOKEN": "sesame-and-a-grain-of-rice"}
    said = f"api.base_url ({nowhere}) has not answered like the API so far, the last: No connection: "
    await shell.add(IDS)

    daemon = await shell.start("run")
    await daemon.says(said)
    shown = (await shell.run("status")).stdout.splitlines()
    await shell.run("migrate", "--db", "other.db")
    of_another = await shell.run("status", "--db", "other.db")
    async with (
        aiohttp.ClientSession() as client,
        client.get(
            f"http://{pages}/readyz", headers={"authorization": "Bearer sesame-and-a-grain-of-rice"}
        ) as response,
    ):
        ready = await response.json()
    daemon.signal(signal.SIGTERM)
    ended = await daemon.ended()

    assert shown[0] == "5 tasks still to do, none lost."
    assert shown[1].startswith(f"The daemon reports api: {said}")
    assert "The daemon reports" not in of_another.stdout
    assert ready["conditions"]["api"].startswith(said)
    assert ended.code == 143
    assert "The daemon reports" not in (await shell.run("status")).stdout


async def test_another_program_at_the_daemons_address_changes_nothing_about_the_status(shell: Shell) -> None:
    await shell.add(IDS[:1])
    async with listening(saying(PAGE)) as (address, server):
        shell.environ["HARVESTER_SERVER__LISTEN"] = address.partition("/")[0]
        status = await shell.run("status")

    assert len(server.heads) == 1

    assert status.code == 0
    assert status.stdout.startswith("1 task still to do, none lost.\n\npending")


async def test_the_display_says_what_it_waits_for_and_until_when(shell: Shell) -> None:
    shell.sabotage(A_LINE_AT_ONCE)
    async with stand_in(tasks=5, age_s=20, processing_median_s=3600.0) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        harvest = await shell.start("backfill")
        await harvest.says("next look in ")
        harvest.signal(signal.SIGINT)
        ended = await harvest.ended()

    assert re.search(r"next look in \d+ s: 5 tasks are younger than a minute", ended.stderr), ended.stderr
