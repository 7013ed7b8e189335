"""`docs/reference/json.md` has every field of the JSON documents, each with its type, and no other."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from harvester.cli.main import run
from harvester.domain.limits.endpoint import Endpoint, LimitReport, RateLimit
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.pause import Pause
from harvester.domain.planning.feasibility import Budget, Feasibility, assess
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.outcomes import Refused, Retrieved
from harvester.domain.tasks.queue_reports import Deadline, Troubled
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.domain.tasks.task_reports import StatusReport, TaskError
from harvester.reports.plan_json import as_json as plan_as_json
from harvester.reports.status import as_json as status_as_json
from harvester.simulator.request_log import RequestRecord
from harvester.store.sqlite.connection import open_for_writing
from harvester.web import health
from harvester.web.metrics import Metrics
from harvester.web.server import Pages
from harvester.web.status import status_document
from tests.support.shell import Shell, stand_in
from tests.support.store_builders import NOW, add_tasks, claim, embeddings, object_id, settle_all, settlement
from tests.support.stored_vectors import Harvested, store
from tests.support.web_builders import SeenHarvest
from tests.unit.reports.test_plan_report import report, task
from tests.unit.test_reference import commands, names, rows, sections

SHOWN_AS_SENT = "harvester show --json"
"""The document is the API's own."""

STATUS = "harvester status --json"

ENDPOINTS = frozenset(Endpoint)
STATES = frozenset(TaskState)
STAGES = frozenset({"dispatch", "decode", "write", "housekeeping"})

TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "any": (object,),
}


def documented(*titles: str) -> dict[str, str]:
    """Return the type of each field that the sections have; a later section goes before an earlier one."""
    page = sections("json.md")
    return {names(row[0])[0]: row[1].strip("| ") for title in titles for row in rows(page[title])}


def part(path: str, name: str) -> str:
    """Return how the page writes a name that may be any."""
    places = {
        "tasks": "STATE",
        "budget.classes": "ENDPOINT",
        "throttle.blocked_until_ms": "ENDPOINT",
        "requests_by_endpoint": "ENDPOINT",
        "requests.sent": "ENDPOINT",
        "requests.ended": "ENDPOINT",
        "requests.ended.ENDPOINT": "OUTCOME",
        "stages": "STAGE",
        "conditions": "NAME",
        "settings": "NAME",
        "left": "ID",
        "tasks[].labels": "KEY",
    }
    allowed = {"STATE": STATES, "ENDPOINT": ENDPOINTS, "STAGE": STAGES}.get(places.get(path, ""))
    assert allowed is None or name in allowed
    return places.get(path, name)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything in a document that is neither an object nor a list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{part(path, name)}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, value


def fits(value: Any, kind: str) -> bool:
    base, _, or_null = kind.partition(" or ")
    if value is None:
        return bool(or_null) or base == "any"
    return isinstance(value, TYPES[base]) and (base in ("boolean", "any") or not isinstance(value, bool))


def assert_documented(listed: dict[str, str], *produced: Any) -> None:
    """Each field of each document is listed with its type, and each one that is listed is in one of them."""
    seen: set[str] = set()
    for path, value in (leaf for document in produced for leaf in leaves(document)):
        if value is None and path not in listed:
            # An object that may be null: then each of its fields may.
            inner = [kind for name, kind in listed.items() if name.startswith(f"{path}.")]
            assert inner, path
            assert all(kind.endswith("or null") for kind in inner), path
            continue
        assert path in listed, path
        assert fits(value, listed[path]), (path, value, listed[path])
        seen.add(path)
    assert set(listed) - seen == set()


Run = Callable[..., Any]


@pytest.fixture
def run_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on `harvester.db` in an empty folder and return the document that it writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWELVELABS_API_KEY", "rehearsal")

    def run_json(*arguments: str) -> Any:
        run([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run_json


def test_every_command_with_json_has_a_section() -> None:
    with_json = {name for name, one in commands().items() if any("--json" in option.opts for option in one.params)}

    assert {title.split()[1] for title in sections("json.md") if title.endswith("--json")} == with_json
    assert rows(sections("json.md")[SHOWN_AS_SENT]) == []


def test_add(run_json: Run) -> None:
    assert_documented(documented("harvester add --json"), run_json("add", object_id(1), "a b", "--retrieve", "visual"))


async def test_discover(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    async with stand_in(tasks=2) as api:
        shell.talks_to(api.base_url)
        found = await shell.run("discover", "--dry-run", "--json")

    assert_documented(documented("harvester discover --json"), json.loads(found.stdout))


def test_import(run_json: Run, tmp_path: Path) -> None:
    segment = {"float": [1.0, 0.0], "start_offset_sec": 0.0, "end_offset_sec": 6.0}
    body = {"_id": object_id(1), "model_name": "marengo3.0", "video_embedding": {"segments": [segment]}}
    (tmp_path / "good.json").write_bytes(orjson.dumps(body))
    (tmp_path / "bad.json").write_bytes(b"{")

    assert_documented(documented("harvester import --json"), run_json("import", "."))


async def test_backfill(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    async with stand_in(tasks=2) as api:
        shell.talks_to(api.base_url)
        harvested, failed = api.catalogue.ids()
        await shell.add([failed])
        with closing(open_for_writing(shell.database)) as connection:
            failure = "error_code = 'task_failed', error_message = 'It is no video.'"
            connection.execute(f"UPDATE tasks SET state = 'failed', ended_at = 1, {failure}")
        unknown = object_id(3)
        ended = await shell.run(
            "backfill", harvested, failed, unknown, "no id!", "--no-wait", "--retrieve", "visual", "--json"
        )

    document = json.loads(ended.stdout)
    assert_documented(documented("harvester backfill --json"), document)
    assert document["harvested_ids"] == [harvested]
    assert [one["task_id"] for one in document["ended_otherwise"]] == [failed]
    assert [one["task_id"] for one in document["open"]] == [unknown]
    assert (ended.code, document["exit_code"], document["exit_reason"]) == (1, 1, "tasks_open")


def test_plan() -> None:
    pacer = Pacer(RateLimit(60))
    pacer.accepted(Endpoint.RETRIEVE, LimitReport(limit=50, remaining=4, reset_s=7200), NOW / 1000)
    by_page = report(*(task(number) for number in range(1, 60)), strategy=Strategy.LIST)
    singly = report(task(1), pacer=pacer)

    assert_documented(
        documented("harvester plan --json"), plan_as_json(by_page, Pause(NOW, NOW + 1)), plan_as_json(singly)
    )


def full_report(**changes: Any) -> StatusReport:
    """Return a report in which every part is there."""
    values: dict[str, Any] = {
        "at_ms": NOW,
        "counts": dict.fromkeys(TaskState, 2),
        "nearest_deadline": Deadline("a", NOW + 60_000),
        "deadlines": [(NOW + 60_000, 100), (NOW + DAY_MS, 100)],
        "oldest_open_task_id": "a",
        "oldest_open_added_at_ms": NOW,
        "last_errors": [TaskError("a", TaskState.FAILED, "task_failed", "It is no video.", NOW)],
        "segments": 7,
        "video_seconds": 42.0,
        "file_bytes": 4096,
        "blocked_until_ms": {Endpoint.LIST: NOW + 1},
        "held": Troubled(1, "a", "no segments"),
        "free_bytes": 10,
        "pause": Pause(NOW, NOW + 1),
    }
    return StatusReport(**values | changes)


def forecast(one: StatusReport) -> Feasibility:
    return assess(one.deadlines, NOW, Budget(1.0, 1.0))


def test_status() -> None:
    absent = dict.fromkeys(("nearest_deadline", "oldest_open_task_id", "held", "free_bytes", "pause"))
    empty = full_report(deadlines=[], **absent)
    documents = [
        status_as_json(one, Path("harvester.db"), forecast(one), {"api": "no answer"}) for one in (full_report(), empty)
    ]

    assert_documented(documented(STATUS), *documents)


def ended(path: Path, state: TaskState, body: bytes = b"{") -> str:
    """Queue a task, end it in that state with its body kept, and return its id."""
    task_id = object_id(1)
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, task_id)
        connection.execute("UPDATE tasks SET state = ?, ended_at = ?", (state, NOW))
        connection.execute(
            "INSERT INTO payloads (task, received_at, body) SELECT id, ?, ? FROM tasks", (NOW, gzip.compress(body))
        )
    return task_id


def test_list(run_json: Run, tmp_path: Path) -> None:
    failed = ended(tmp_path / "harvester.db", TaskState.FAILED)
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        connection.execute("UPDATE tasks SET error_code = 'task_failed', error_message = 'It is no video.'")
        connection.execute("INSERT INTO labels SELECT id, 'show', 'news' FROM tasks")
        add_tasks(connection, object_id(2))
        (task,) = claim(connection)
        metadata = replace(embeddings().metadata, input_type="video", input_url="http://example.org/a.mp4")
        settle_all(connection, settlement(task, Retrieved(replace(embeddings(), metadata=metadata))))

    document = run_json("list")

    assert [one["task_id"] for one in document["tasks"]] == [failed, object_id(2)]
    assert_documented(documented("harvester list --json"), document)


def test_label(run_json: Run) -> None:
    run_json("add", object_id(1))

    assert_documented(documented("harvester label --json"), run_json("label", object_id(1), object_id(2), "show=x"))


def test_retry(run_json: Run, tmp_path: Path) -> None:
    failed = ended(tmp_path / "harvester.db", TaskState.FAILED)

    document = run_json("retry", failed, object_id(77), "no id!", "--retrieve", "all")

    assert_documented(documented("harvester retry --json"), document)


def test_retry_from_kept(run_json: Run, tmp_path: Path) -> None:
    segment = {"float": [1.0, 0.0], "start_offset_sec": 0.0, "end_offset_sec": 6.0}
    result = {"_id": object_id(1), "status": "ready", "video_embedding": {"segments": [segment]}}
    rejected = ended(tmp_path / "harvester.db", TaskState.REJECTED, orjson.dumps(result))

    document = run_json("retry", "--from-kept", rejected, object_id(77))

    assert_documented(documented("harvester retry --from-kept --json"), document)


def test_forget(run_json: Run, tmp_path: Path) -> None:
    run_json("add", object_id(1), object_id(2))
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        claim(connection, now_ms=time.time_ns() // 1_000_000, limit=1)

    document = run_json("forget", object_id(1), object_id(2), object_id(3))

    assert document["forgotten"] == 1
    assert_documented(documented("harvester forget --json"), document)


def test_expedite(run_json: Run) -> None:
    run_json("add", object_id(1))

    document = run_json("expedite", object_id(1), object_id(2))

    assert document["left"] == {object_id(2): None}
    fields = documented("harvester expedite --json")
    del fields["held_back[]"]
    assert_documented(fields, document)


def test_pause_and_resume(run_json: Run) -> None:
    run_json("add", object_id(1))

    assert_documented(documented("harvester pause --json"), run_json("pause", "--for", "2h"), run_json("pause"))
    assert_documented(documented("harvester resume --json"), run_json("resume"), run_json("resume"))


def test_export(run_json: Run, tmp_path: Path) -> None:
    store(tmp_path / "harvester.db", Harvested(1), Harvested(2, model=None))

    assert_documented(documented("harvester export --json"), run_json("export", "vectors/"))


def test_verify(run_json: Run, tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        add_tasks(connection, object_id(1), object_id(2))
        settle_all(connection, *(settlement(one, Retrieved(embeddings())) for one in claim(connection)))
        connection.execute("UPDATE embeddings SET vector = zeroblob(length(vector))")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT INTO labels VALUES (9, 'show', 'news')")
        in_an_hour_ms = time.time_ns() // 1_000_000 + 3_600_000
        connection.execute("UPDATE tasks SET expires_at = ? WHERE task_id = ?", (in_an_hour_ms, object_id(2)))

    assert_documented(documented("harvester verify --json"), run_json("verify", "--deep", "--repair"))


def test_backup(run_json: Run) -> None:
    run_json("add", object_id(1))

    assert_documented(documented("harvester backup --json"), run_json("backup", "copy.db"))


def test_compact(run_json: Run, tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        add_tasks(connection, object_id(1))
        connection.execute("UPDATE tasks SET state = 'harvested'")
        connection.execute("INSERT INTO payloads (task, received_at, body) VALUES (1, 0, zeroblob(200000))")
    documents = [run_json("compact", "--dry-run"), run_json("compact")]

    assert [document["after"] is None for document in documents] == [True, False]
    assert_documented(documented("harvester compact --json"), *documents)


def test_doctor(run_json: Run) -> None:
    assert_documented(documented("harvester doctor --json"), run_json("doctor", "--offline"))


def test_config(run_json: Run) -> None:
    assert_documented(documented("harvester config --json"), run_json("config"))


def test_pages_and_their_errors(tmp_path: Path) -> None:
    pages, request = Pages(SeenHarvest(database=tmp_path / "none.db"), Metrics()), make_mocked_request("GET", "/")

    async def answers() -> list[Any]:
        return [json.loads(str(answer.text)) for answer in (await pages.index(request), await pages.status(request))]

    index, error = anyio.run(answers)
    assert_documented(documented("GET /"), index)
    assert_documented(documented("A page that cannot be served"), error)


def busy_harvest() -> SeenHarvest:
    """Return a harvest with a stage that has been at work for too long, and with tasks that have just ended."""
    harvest = SeenHarvest()
    harvest.progress.conditions["api"] = "most requests fail"
    for _ in range(5):
        harvest.progress.record_transition(TaskState.PENDING, TaskState.HARVESTED, harvest.clock.now)
    return harvest


async def test_health_and_readiness() -> None:
    harvest = busy_harvest()
    with harvest.progress.beats.at_work("write", harvest.clock.monotonic):
        stuck = health.liveness(harvest.progress.beats, harvest.clock.now + 2 * health.STUCK_AFTER_S)
    unready = health.readiness("It is locked.", harvest.progress.conditions, Refused("No."), is_proven=False)

    assert_documented(documented("GET /healthz"), stuck.page)
    assert_documented(documented("GET /readyz"), unready.page)


async def test_status_page() -> None:
    harvest, metrics = busy_harvest(), Metrics()
    metrics.answered(Endpoint.STATUS, "ready", 0.1, 10)
    with harvest.progress.beats.at_work("write", harvest.clock.monotonic):
        document = status_document(full_report(), forecast(full_report()), harvest, metrics)

    assert_documented(documented(STATUS, "GET /status.json"), document)


def test_the_request_log_of_the_stand_in() -> None:
    kinds = {str: "string", int: "integer", float: "number", str | None: "string or null"}
    listed = documented("harvester simulate --log")

    assert set(listed) == set(RequestRecord.__dataclass_fields__)
    assert {name: kinds.get(kind, "string") for name, kind in get_type_hints(RequestRecord).items()} == listed
