"""What the stand-in answers in version 2, against bodies in the documented shapes."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from harvester.simulator.failures import EXPIRED, FAILURES
from harvester.simulator.models import MODELS
from harvester.simulator.requests import MediaRequest, VideoRequest, default_request
from tests.support.simulated import get, simulated

FIXTURES = Path(__file__).parents[1] / "fixtures"
WEEK_S = 7 * 86_400
V1_VIDEO = VideoRequest(model=MODELS["marengo3.0"], options=("visual",), clip_length_s=6.0, filename="a.mp4")
V2_VIDEO = default_request("video", MODELS["marengo3.5"])


def documented(name: str) -> Any:
    return orjson.loads((FIXTURES / name).read_bytes())


def shape(document: Any) -> Any:
    """Reduce a JSON document to its keys and the kinds of its values; of a list only the first element counts."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape(one) for one in document[:1]]
    return "number" if isinstance(document, int | float) and not isinstance(document, bool) else type(document).__name__


def request_for(name: str) -> MediaRequest:
    """Return the request whose result has the shape of that fixture."""
    old, new = MODELS["marengo3.0"], MODELS["marengo3.5"]
    common: dict[str, Any] = {"model": new, "dimension": 128}
    match name:
        case "retrieve_v2_video_35.json":
            return MediaRequest(
                medium="video",
                options=("visual", "audio"),
                scopes=("clip",),
                has_uncertainty=True,
                filename="match.mp4",
                **common,
            )
        case "retrieve_v2_audio_30.json":
            return MediaRequest(
                medium="audio",
                model=old,
                options=("audio", "transcription"),
                scopes=("clip",),
                span_s=(0.0, 20.0),
                clip_length_s=6.0,
                url="https://media.example/talk.mp3",
            )
        case "retrieve_v2_document_35.json":
            return MediaRequest(
                medium="document",
                options=("visual",),
                scopes=("local",),
                has_quadrants=True,
                filename="rules.pdf",
                **common,
            )
        case "retrieve_v2_text_chunks_35.json":
            return MediaRequest(
                medium="document",
                options=("text",),
                scopes=("local",),
                file_format="markdown",
                max_sentences=5,
                filename="notes.md",
                **common,
            )
        case _:
            return MediaRequest(
                medium="image", options=("visual",), scopes=("asset",), url="https://media.example/logo.png", **common
            )


@pytest.mark.parametrize(
    "name",
    [
        "retrieve_v2_video_35.json",
        "retrieve_v2_audio_30.json",
        "retrieve_v2_document_35.json",
        "retrieve_v2_text_chunks_35.json",
        "retrieve_v2_image_35.json",
    ],
)
async def test_a_result_has_the_documented_shape_and_exactly_its_embeddings(name: str) -> None:
    async with simulated() as (sim, http):
        expected = documented(name)
        truncated = expected.get("usage", {}).get("truncated")
        task = sim.catalogue.hold(request_for(name), is_truncated=truncated)
        status, body = await get(http, f"embed-v2/tasks/{task.task_id}")
        held = sim.catalogue.embeddings(task.task_id)
    received = [np.array(one["embedding"], dtype=np.float32) for one in body["data"]]
    np.testing.assert_array_equal(np.stack(received), held.vectors, strict=True)
    assert [one["embedding_option"] for one in body["data"]] == list(held.options)
    assert [one["embedding_scope"] for one in body["data"]] == list(held.scopes)
    body.setdefault("updated_at", None)
    expected.setdefault("updated_at", body["updated_at"])
    expected["updated_at"] = expected["updated_at"] or body["updated_at"]
    whole = [one for one in body["data"] if one.get("quadrant", None) is None]
    assert (status, shape(body | {"data": whole})) == (200, shape(expected))


async def test_quadrants_share_their_page_and_chunks_are_counted_in_any_order() -> None:
    async with simulated() as (sim, http):
        bodies = []
        for name in ("retrieve_v2_document_35.json", "retrieve_v2_text_chunks_35.json"):
            task = sim.catalogue.hold(request_for(name))
            bodies.append((await get(http, f"embed-v2/tasks/{task.task_id}"))[1]["data"])
    pages = {(one["start_page_number"], one["quadrant"]) for one in bodies[0]}
    count = max(page for page, _ in pages)
    quadrants = {None, "top_left", "top_right", "bottom_left", "bottom_right"}
    assert len(bodies[0]) == len(pages) == 5 * count
    assert {quadrant for _, quadrant in pages} == quadrants
    chunks = [one["chunk_index"] for one in bodies[1]]
    assert sorted(chunks) == list(range(len(chunks)))
    assert chunks != sorted(chunks)


async def test_before_it_is_ready_a_task_has_a_status_only() -> None:
    async with simulated(processing_median_s=60, processing_sigma=0) as (sim, http):
        task = sim.catalogue.create(V2_VIDEO)
        status, body = await get(http, f"embed-v2/tasks/{task.task_id}")
        assert (status, shape(body)) == (200, shape(documented("retrieve_v2_processing.json")))
        sim.clock.advance(60)
        assert (await get(http, f"embed-v2/tasks/{task.task_id}"))[1]["status"] == "ready"


@pytest.mark.parametrize("message", [failure.message for failure in FAILURES.values()])
async def test_a_failed_task_says_why(message: str) -> None:
    async with simulated() as (sim, http):
        task = sim.catalogue.hold(V2_VIDEO, failure=message)
        status, body = await get(http, f"embed-v2/tasks/{task.task_id}")
    assert (status, shape(body)) == (200, shape(documented("retrieve_v2_failed.json")))
    assert (body["status"], body["error"]) == ("failed", {"message": message})


async def test_failed_tasks_have_every_message_that_can_be_about_them_unless_some_are_chosen() -> None:
    async with simulated(tasks=200, api="v2", failed_ratio=1.0) as (sim, _):
        given = {sim.catalogue.task(one).failure for one in sim.catalogue.ids()}
    assert given == {failure.message for failure in FAILURES.values() if "video" in failure.media}
    async with simulated(tasks=20, api="v2", failed_ratio=1.0, failures=("source",)) as (sim, _):
        given = {sim.catalogue.task(one).failure for one in sim.catalogue.ids()}
    assert given == {FAILURES["source"].message}


async def test_after_seven_days_a_task_is_unknown() -> None:
    async with simulated() as (sim, http):
        path = f"embed-v2/tasks/{sim.catalogue.create(V2_VIDEO).task_id}"
        sim.clock.advance(WEEK_S - 0.001)
        assert (await get(http, path))[0] == 200
        sim.clock.advance(0.001)
        assert (await get(http, path))[0] == 404


async def test_after_seven_days_a_task_may_be_failed_as_well() -> None:
    async with simulated(expiry="failed") as (sim, http):
        path = f"embed-v2/tasks/{sim.catalogue.create(V2_VIDEO).task_id}"
        sim.clock.advance(WEEK_S)
        status, body = await get(http, path)
    assert (status, shape(body)) == (200, shape(documented("retrieve_v2_expired.json")))
    assert body["error"]["message"] == EXPIRED


async def test_both_forms_of_expiry_occur_together() -> None:
    async with simulated(tasks=20, api="v2", expiry="mixed") as (sim, http):
        sim.clock.advance(WEEK_S)
        statuses = {(await get(http, f"embed-v2/tasks/{one}"))[0] for one in sim.catalogue.ids()}
    assert statuses == {200, 404}


async def test_an_unknown_id_is_refused_in_the_documented_words() -> None:
    async with simulated() as (_, http):
        expected = documented("error_v2_404.json")
        assert await get(http, "embed-v2/tasks/6af03cec5be3a1f0c2d4e6ff") == (404, expected)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("embed-v2/tasks/not-an-id", 400, "parameter_invalid"),
        ("embed-v2/tasks?page_limit=51", 400, "parameter_invalid"),
        ("embed-v2/tasks/6af03cec5be3a1f0c2d4e6ff/status", 404, "resource_not_exists"),
    ],
)
async def test_every_refusal_is_nested(path: str, status: int, code: str) -> None:
    async with simulated() as (_, http):
        answered, body = await get(http, path)
    assert (answered, body.keys(), body["error"]["code"]) == (status, {"error"}, code)


async def test_a_wrong_key_and_a_limit_are_refused_nested_as_well() -> None:
    async with simulated(requests_per_minute=1, key="any") as (_, http):
        async with http.get("embed-v2/tasks", headers={"x-api-key": "other"}) as refused:
            assert (refused.status, (await refused.json())["error"]["code"]) == (401, "api_key_invalid")
        await get(http, "embed-v2/tasks")
        status, body = await get(http, "embed-v2/tasks")
    assert (status, body["error"]["code"]) == (429, "too_many_requests")


async def test_the_list_has_an_entry_of_each_medium_in_its_documented_shape() -> None:
    expected = documented("list_v2.json")
    entries = {next(name for name in one if name.endswith("_embedding")): one for one in expected["data"][:4]}
    async with simulated() as (sim, http):
        for name in ("video_35", "document_35", "audio_30", "image_35"):
            sim.catalogue.hold(request_for(f"retrieve_v2_{name}.json"))
        status, body = await get(http, "embed-v2/tasks", page_limit=4)
    assert (status, len(body["data"])) == (200, 4)
    for one in body["data"]:
        name = next(name for name in one if name.endswith("_embedding"))
        wanted = entries.pop(name)
        wanted["updated_at"] = wanted["updated_at"] or one["updated_at"]
        assert shape(one) == shape(wanted)
    assert entries == {}


async def test_times_are_written_without_zeros_at_the_end_and_may_be_null() -> None:
    async with simulated() as (sim, http):
        for medium in ("image", "document"):
            sim.catalogue.hold(default_request(medium, MODELS["marengo3.5"]), age_s=60, processing_s=0.02)
        _, body = await get(http, "embed-v2/tasks")
    times = sorted((one["created_at"], one["updated_at"]) for one in body["data"] if "image_embedding" in one)
    assert times == [("2023-11-14T22:12:20Z", "2023-11-14T22:12:20.02Z")]
    assert [one["updated_at"] for one in body["data"] if "document_embedding" in one] == [None]


async def test_a_failed_image_is_listed_with_its_name_alone() -> None:
    async with simulated() as (sim, http):
        sim.catalogue.hold(default_request("image", MODELS["marengo3.5"], filename="poster.png"), failure="No.")
        _, body = await get(http, "embed-v2/tasks", status="failed")
    expected = documented("list_v2.json")["data"][5]
    assert shape(body["data"][0]) == shape(expected)
    assert body["data"][0]["image_embedding"] == expected["image_embedding"]


@pytest.mark.parametrize(
    ("cross_version", "listed", "answered"), [("none", 1, 404), ("lists", 2, 404), ("all", 2, 200)]
)
async def test_what_a_version_tells_about_tasks_of_the_other_is_a_setting(
    cross_version: str, listed: int, answered: int
) -> None:
    async with simulated(cross_version=cross_version) as (sim, http):
        first, second = sim.catalogue.hold(V1_VIDEO, age_s=60), sim.catalogue.hold(V2_VIDEO)
        for version in ("embed", "embed-v2"):
            _, body = await get(http, f"{version}/tasks")
            assert len(body["data"]) == listed
        for path in (f"embed-v2/tasks/{first.task_id}", f"embed/tasks/{second.task_id}"):
            assert (await get(http, path))[0] == answered
        assert (await get(http, f"embed/tasks/{second.task_id}/status"))[0] == answered
        assert (await get(http, f"embed/tasks/{first.task_id}"))[0] == 200
        assert (await get(http, f"embed-v2/tasks/{second.task_id}"))[0] == 200


async def test_each_version_answers_for_the_others_video_in_its_own_words() -> None:
    async with simulated(cross_version="all") as (sim, http):
        first, second = sim.catalogue.hold(V1_VIDEO), sim.catalogue.hold(V2_VIDEO)
        image = sim.catalogue.hold(default_request("image", MODELS["marengo3.5"]))
        _, in_second = await get(http, f"embed-v2/tasks/{first.task_id}")
        _, in_first = await get(http, f"embed/tasks/{second.task_id}")
        assert (await get(http, f"embed/tasks/{image.task_id}"))[0] == 404
    assert {one["embedding_scope"] for one in in_second["data"]} == {"clip", "asset"}
    assert in_second["metadata"]["clip_length"] == 6
    assert {one["embedding_scope"] for one in in_first["video_embedding"]["segments"]} == {"clip", "video"}


async def test_version_1_may_answer_400_for_an_unknown_id() -> None:
    async with simulated(unknown_status=400) as (sim, http):
        task = sim.catalogue.hold(V2_VIDEO)
        status, body = await get(http, f"embed/tasks/{task.task_id}")
    assert (status, body["code"]) == (400, "parameter_invalid")


async def test_the_seeded_tasks_take_turns_in_version_medium_and_model() -> None:
    media = ("video", "audio", "document", "image")
    async with simulated(tasks=40, api="both", media=media, uncertainty=True, fused=True) as (sim, http):
        tasks = [sim.catalogue.task(one) for one in sim.catalogue.ids()]
        kinds = {(one.request.version, one.request.medium, one.request.model.name) for one in tasks}
        bodies = [(await get(http, f"embed-v2/tasks/{one.task_id}"))[1] for one in tasks if one.request.version == "v2"]
    assert kinds == {
        ("v1", "video", "marengo3.0"),
        ("v2", "video", "marengo3.0"),
        ("v2", "video", "marengo3.5"),
        ("v2", "audio", "marengo3.0"),
        ("v2", "audio", "marengo3.5"),
        ("v2", "document", "marengo3.5"),
        ("v2", "image", "marengo3.5"),
    }
    entries = [entry for body in bodies for entry in body["data"]]
    assert {one["embedding_scope"] for one in entries} == {"clip", "asset", "page", "chunk"}
    options = {"visual", "audio", "transcription", "text", "fused"}
    assert {one["embedding_option"] for one in entries} == options
    assert any("embedding_uncertainty" in one for one in entries)


async def test_a_truncated_result_says_so() -> None:
    async with simulated(tasks=4, api="v2", models=("marengo3.5",), truncated_ratio=1.0) as (sim, http):
        _, body = await get(http, f"embed-v2/tasks/{sim.catalogue.ids()[0]}")
    assert body["usage"]["truncated"]
    assert body["usage"]["truncation_reason"] == "model_context_window"
