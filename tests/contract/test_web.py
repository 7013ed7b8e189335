"""The daemon's pages over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from harvester.app.status import read_status
from harvester.app.stores import open_insights
from harvester.domain.errors import UsageError
from harvester.domain.tasks.outcomes import Refused
from harvester.domain.tasks.task import TaskState
from harvester.reports.status import as_json
from harvester.settings.model import Settings
from harvester.store.sqlite.connection import open_for_writing
from harvester.web import Metrics, WebServer, serve
from harvester.web.health import STUCK_AFTER_S
from tests.support.store_builders import add_tasks, insert_like_another_program, object_id
from tests.support.web_builders import NOW, SeenHarvest

TOKEN = "sesame-0123456789"
PAGES = ["/", "/healthz", "/readyz", "/metrics", "/status.json"]
GUARDED = ["/", "/readyz", "/metrics", "/status.json"]


@pytest.fixture
def harvest(tmp_path: Path) -> SeenHarvest:
    path = tmp_path / "harvester.db"
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, object_id(1, created_ms=NOW), now_ms=NOW)
    return SeenHarvest(database=path)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(
    client: aiohttp.ClientSession, url: str, method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, url, headers=sent) as response:
        return response.status, await response.text(), {name.lower(): value for name, value in response.headers.items()}


async def get_json(client: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    status, text, _ = await get(client, url)
    return status, json.loads(text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_daemon_at_work_answers_200_on_every_page(
    harvest: SeenHarvest, client: aiohttp.ClientSession, path: str
) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, _, _ = await get(client, server.url + path)

    assert status == 200


@pytest.mark.parametrize("path", [*PAGES, "/nowhere"])
async def test_no_answer_is_cached_sniffed_or_tells_what_it_is_made_with(
    harvest: SeenHarvest, client: aiohttp.ClientSession, path: str
) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        _, _, headers = await get(client, server.url + path)

    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["server"] == "harvester"


async def test_a_stuck_stage_makes_healthz_503_with_the_reason(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        with harvest.progress.beats.at_work("write", harvest.clock.monotonic):
            harvest.clock.now += STUCK_AFTER_S + 1
            status, page = await get_json(client, server.url + "/healthz")

    assert (status, page["status"]) == (503, "stuck")
    assert "write" in page["reasons"][0]


async def test_a_refused_key_makes_readyz_503_and_leaves_healthz_alone(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    harvest.refusal = Refused("no", "api_key_invalid")
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        ready, page = await get_json(client, server.url + "/readyz")
        alive, _ = await get_json(client, server.url + "/healthz")

    assert (ready, page["key"], alive) == (503, "refused", 200)


async def test_a_deleted_database_makes_readyz_503_and_metrics_still_answer(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    harvest.database.unlink()
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        ready, page = await get_json(client, server.url + "/readyz")
        report, _ = await get_json(client, server.url + "/status.json")
        status, metrics, _ = await get(client, server.url + "/metrics")

    assert (ready, page["database"], report) == (503, "not writable", 503)
    assert status == 200
    assert 'harvester_degraded{what="database"} 1.0' in metrics


async def test_the_status_is_what_the_command_prints_and_more(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    harvest.progress.conditions["api"] = "most requests fail"
    with open_insights(harvest.database) as insights:
        report, forecast = read_status(insights, Settings(), NOW)
    printed = as_json(report, harvest.database, forecast, {"api": "most requests fail"})
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, page = await get_json(client, server.url + "/status.json")

    assert status == 200
    unequal = {name for name, value in printed.items() if page[name] != value}
    assert unequal <= {"throttle", "file"}
    assert forecast.finish_ms > NOW
    assert {"throttle", "stages", "requests"} <= set(page)


async def test_words_of_others_are_escaped_json_and_nothing_else(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    hostile = "\x1b[31m<script>alert(1)</script>\u202e"
    insert_like_another_program(
        harvest.database, "UPDATE tasks SET error_code = 'x', error_message = ?, error_at = 1", [hostile]
    )
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        _, text, headers = await get(client, server.url + "/status.json")

    assert headers["content-type"] == "application/json; charset=utf-8"
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["last_errors"][0]["message"] == hostile


async def test_metrics_are_in_the_text_format_of_prometheus(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    harvest.progress.counts[TaskState.PENDING] = 1
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        _, text, headers = await get(client, server.url + "/metrics")

    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'harvester_tasks{state="pending"} 1.0' in text.splitlines()
    assert "harvester_nearest_deadline_seconds 604800.0" in text.splitlines()


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer wrong-0123456789", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff\xfe"],
)
async def test_without_the_right_token_nothing_is_shown(
    harvest: SeenHarvest, client: aiohttp.ClientSession, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with WebServer("127.0.0.1:0", TOKEN, harvest, Metrics()) as server:
        status, text, answered = await get(client, server.url + path, **headers)

    assert status == 401
    assert answered["www-authenticate"] == 'Bearer realm="harvester"'
    assert TOKEN not in text + str(answered)


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_with_the_token_every_page_opens(
    harvest: SeenHarvest, client: aiohttp.ClientSession, path: str, scheme: str
) -> None:
    async with WebServer("127.0.0.1:0", TOKEN, harvest, Metrics()) as server:
        status, _, _ = await get(client, server.url + path, authorization=f"{scheme} {TOKEN}")

    assert status == 200


async def test_healthz_stays_open_and_tells_no_more_than_stages(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    harvest.progress.conditions["api"] = "most requests fail, the last with: words of others"
    async with WebServer("127.0.0.1:0", TOKEN, harvest, Metrics()) as server:
        status, page = await get_json(client, server.url + "/healthz")

    assert (status, set(page)) == (200, {"status", "reasons", "stages"})


async def test_a_path_that_does_not_exist_needs_the_token_as_well(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    async with WebServer("127.0.0.1:0", TOKEN, harvest, Metrics()) as server:
        status, _, _ = await get(client, server.url + "/nowhere")

    assert status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "192.168.1.7:9464"])
async def test_a_web_page_that_points_its_own_name_here_reads_nothing(
    harvest: SeenHarvest, client: aiohttp.ClientSession, host: str
) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, _, _ = await get(client, server.url + "/status.json", host=host)

    assert status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9464", "127.0.0.1:1", "[::1]:9464", "[::1]"])
async def test_names_of_this_machine_are_served(harvest: SeenHarvest, client: aiohttp.ClientSession, host: str) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, _, _ = await get(client, server.url + "/status.json", host=host)

    assert status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed_here(harvest: SeenHarvest, client: aiohttp.ClientSession, method: str) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, text, headers = await get(client, server.url + "/status.json", method)

    assert (status, json.loads(text)) == (405, {"error": "Method Not Allowed"})
    assert headers["allow"] == "GET,HEAD"


async def test_head_is_answered_without_a_body(harvest: SeenHarvest, client: aiohttp.ClientSession) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        status, text, _ = await get(client, server.url + "/metrics", "HEAD")

    assert (status, text) == (200, "")


async def test_a_page_that_fails_says_so_without_details(
    harvest: SeenHarvest, client: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    harvest.throttle = None  # type: ignore[assignment]
    # A test of a command in the same process may have configured the log.
    structlog.reset_defaults()
    async with WebServer("127.0.0.1:0", TOKEN, harvest, Metrics()) as server:
        status, text, _ = await get(client, server.url + "/status.json", authorization=f"Bearer {TOKEN}")

    assert (status, json.loads(text)) == (500, {"error": "Internal Server Error"})
    logged = capsys.readouterr().out
    assert "a page failed" in logged
    assert TOKEN not in logged


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.168.1.7:9464", "harvester.internal:9464", "[::]:0"])
async def test_an_address_that_others_can_reach_needs_a_token(harvest: SeenHarvest, listen: str) -> None:
    with pytest.raises(UsageError, match=r"can be reached from other machines.*server\.token"):
        WebServer(listen, None, harvest, Metrics())


async def test_with_a_token_every_address_is_allowed(harvest: SeenHarvest, client: aiohttp.ClientSession) -> None:
    async with WebServer("0.0.0.0:0", TOKEN, harvest, Metrics()) as server:
        port = server.url.rpartition(":")[2]
        status, _, _ = await get(client, f"http://127.0.0.1:{port}/metrics", authorization=f"Bearer {TOKEN}")

    assert status == 200


async def test_an_address_in_use_is_a_sentence_that_names_the_setting(harvest: SeenHarvest) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        address = server.url.removeprefix("http://")
        with pytest.raises(UsageError, match=r"server\.listen = '127.*in use") as caught:
            async with WebServer(address, None, harvest, Metrics()):
                pytest.fail("it must not listen")

    assert caught.value.exit_code == 2


async def test_an_empty_address_serves_nothing(harvest: SeenHarvest) -> None:
    async with serve("", None, harvest, Metrics()):
        pass


async def test_it_stops_listening_with_the_block_although_a_reader_keeps_its_connection(
    harvest: SeenHarvest, client: aiohttp.ClientSession
) -> None:
    async with WebServer("127.0.0.1:0", None, harvest, Metrics()) as server:
        await get(client, server.url + "/healthz")

    with pytest.raises(aiohttp.ClientConnectionError):
        await get(client, server.url + "/healthz")
