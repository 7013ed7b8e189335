"""The stand-in's misbehaviour in version 2: the same kinds, in the shapes of this version."""

from typing import Any

import orjson
import pytest

from harvester.domain.errors import UsageError
from harvester.simulator import Fault, SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.faults import FaultSchedule
from harvester.simulator.faults.kinds import KINDS
from tests.support.simulated import get, post, simulated

ANSWERED = [
    name
    for name, kind in KINDS.items()
    if "retrieve" in kind.endpoints and 11 <= kind.rows[0] < 35 and name not in {"endless_body", "length_over_any_cap"}
]
BY_TIME = {"missing_time", "negative_time"}


async def spoilt(kind: str, medium: str, **rule: Any) -> tuple[bytes, bytes, dict[str, int]]:
    """Return the right body and the spoilt one, and what was served."""
    fault = Fault(kind=kind, endpoints=("retrieve",), value=rule.pop("value", "8"), **rule)
    settings: dict[str, Any] = {"tasks": 2, "api": "v2", "media": (medium,), "models": ("marengo3.5",)}
    async with simulated(faults=[fault], **settings) as (sim, http):
        task_id = sim.catalogue.ids()[0]
        async with http.get(f"embed-v2/tasks/{task_id}", allow_redirects=False) as answer:
            return sim.catalogue.document(task_id), await answer.read(), dict(sim.faults.served)


@pytest.mark.parametrize("kind", [kind for kind in ANSWERED if kind not in {"bomb", "cut_gzip"}])
@pytest.mark.parametrize("medium", ["video", "image"])
async def test_every_kind_changes_the_result(kind: str, medium: str) -> None:
    right, received, served = await spoilt(kind, medium)
    applies = not (kind in BY_TIME and medium == "image")
    assert (received != right, served) == (applies, {kind: 1} if applies else {})


@pytest.mark.parametrize("kind", ["deep", "exact_numbers", "duplicate_key", "duplicate_key_in_metadata", "nan"])
async def test_a_spoilt_result_still_has_its_shape(kind: str) -> None:
    right, received, _ = await spoilt(kind, "video")
    assert received.startswith(right[:30])
    assert len(received) > len(right) - 20
    assert received.count(b'"embedding":[') == right.count(b'"embedding":[')


@pytest.mark.parametrize(("kind", "status"), [("status_goes_back", "processing"), ("unknown_status", "transcoding")])
async def test_another_status_comes_without_a_result(kind: str, status: str) -> None:
    _, received, _ = await spoilt(kind, "video")
    body = orjson.loads(received)
    assert (body["status"], body["data"]) == (status, None)


async def test_a_failure_has_a_reason() -> None:
    _, received, _ = await spoilt("failed", "video")
    body = orjson.loads(received)
    assert (body["status"], body["data"]) == ("failed", None)
    assert body["error"]["message"]


@pytest.mark.parametrize(("kind", "code"), [("problem", "internal_server_error"), ("throttled", "too_many_requests")])
async def test_refusals_are_nested(kind: str, code: str) -> None:
    _, received, _ = await spoilt(kind, "video", value="1")
    assert orjson.loads(received)["error"]["code"] == code


async def test_a_neighbours_answer_is_in_this_version() -> None:
    right, received, served = await spoilt("neighbours_id", "video")
    first, second = orjson.loads(right), orjson.loads(received)
    assert (first.keys(), served) == (second.keys(), {"neighbours_id": 1})
    assert first["_id"] != second["_id"]


async def test_a_list_repeats_and_shifts_in_this_version_too() -> None:
    faults = [Fault(kind="endless_list", times=1), Fault(kind="list_shifts")]
    async with simulated(faults=faults, tasks=4, api="v2", media=("document",)) as (sim, http):
        _, endless = await get(http, "embed-v2/tasks", page=3, page_limit=2)
        _, shifted = await get(http, "embed-v2/tasks", page_limit=2)
        assert [one["_id"] for one in endless["data"]] == [one["_id"] for one in shifted["data"]]
        assert endless["page_info"]["total_results"] > 1000
        assert sim.catalogue.task(sim.catalogue.ids()[-1]).request.filename == "later.mp4"


async def test_a_result_that_is_not_there_yet_cannot_be_spoilt() -> None:
    faults = [Fault(kind=name) for name, kind in KINDS.items() if kind.endpoints == ("retrieve",)]
    async with simulated(faults=faults, tasks=1, api="v2", failed_ratio=1.0) as (sim, http):
        assert (await get(http, f"embed-v2/tasks/{sim.catalogue.ids()[0]}"))[1]["status"] == "failed"
        assert sim.faults.served == {}


@pytest.mark.parametrize("endpoint", ["create", "query"])
async def test_a_post_is_spoilt_if_the_rule_names_it(endpoint: str) -> None:
    path = {"create": "embed-v2/tasks", "query": "embed-v2"}[endpoint]
    named = Fault(kind="problem", endpoints=(endpoint,), times=1)  # type: ignore[arg-type]
    async with simulated(faults=[named, Fault(kind="throttled")]) as (_, http):
        answers = [await post(http, path, {}) for _ in range(2)]
    assert [status for status, _ in answers] == [500, 400]


def test_a_kind_that_is_about_a_result_cannot_spoil_a_post() -> None:
    with pytest.raises(UsageError, match="nan does not apply to 'create'"):
        FaultSchedule([Fault(kind="nan", endpoints=("create",))], *unused())


def unused() -> tuple[SimulatorClock, Catalogue]:
    clock = SimulatorClock()
    return clock, Catalogue(SimulatorSettings(), clock)
