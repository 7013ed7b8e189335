"""Creating tasks of version 2 on the stand-in: what is taken, and each documented refusal."""

from base64 import b64encode
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from harvester.simulator import Simulator
from harvester.simulator.failures import FAILURES
from tests.support.simulated import get, post, simulated

FIXTURES = Path(__file__).parents[1] / "fixtures"
URL = {"url": "https://media.example/match.mp4"}
PDF, TEXT = {"url": "https://media.example/rules.pdf"}, {"url": "https://media.example/notes.md"}
SENTENCES = {"sequential": {"strategy": "sentence", "max_sentences": 5}}


@pytest.fixture
async def served() -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    async with simulated() as both:
        yield both


def body(model: str = "3.5", medium: str = "video", **inner: Any) -> dict[str, Any]:
    """Return the body of a request: fields of the medium, and those that begin with `embedding_d` or `embedding_u`."""
    names = ("embedding_dimension", "embedding_uncertainty")
    outer: dict[str, Any] = {name: inner.pop(name) for name in names if name in inner}
    return {"input_type": medium, "model_name": f"marengo{model}", **outer, medium: {"media_source": URL} | inner}


async def created(served: tuple[Simulator, aiohttp.ClientSession], request: dict[str, Any]) -> Any:
    """Create a task, and return its result."""
    _, http = served
    status, answer = await post(http, "embed-v2/tasks", request)
    assert status == 202, answer
    return (await get(http, f"embed-v2/tasks/{answer['_id']}"))[1]


async def test_the_answer_to_a_new_task_is_the_documented_one(
    served: tuple[Simulator, aiohttp.ClientSession],
) -> None:
    sim, http = served
    expected = orjson.loads((FIXTURES / "create_v2_202.json").read_bytes())
    status, answer = await post(http, "embed-v2/tasks", body(embedding_dimension=128))
    assert (status, answer) == (202, expected | {"_id": sim.catalogue.ids()[0]})
    status, answer = await post(http, "embed-v2/tasks", body("3.0"))
    assert (status, answer.keys()) == (202, {"_id", "status", "data"})


@pytest.mark.parametrize(
    ("request_body", "options", "scopes"),
    [
        (body("3.0"), {"visual", "audio", "transcription"}, {"clip", "asset"}),
        (body("3.5"), {"visual", "audio"}, {"clip", "asset"}),
        (body("3.0", "audio"), {"audio", "transcription"}, {"clip", "asset"}),
        (body("3.5", "audio"), {"audio"}, {"clip", "asset"}),
        (body("3.5", embedding_scope=["local"], embedding_option=["audio"]), {"audio"}, {"clip"}),
        (body("3.0", embedding_type=["fused_embedding"]), {"fused"}, {"clip", "asset"}),
        (
            body("3.0", embedding_type=["fused_embedding", "separate_embedding"], embedding_option=["visual", "audio"]),
            {"visual", "audio", "fused"},
            {"clip", "asset"},
        ),
        (body(medium="document", media_source=PDF), {"visual"}, {"page"}),
        (body(medium="document", media_source=TEXT), {"text"}, {"asset"}),
        (
            body(medium="document", media_source=PDF, embedding_scope=["local", "asset"]),
            {"visual"},
            {"page", "asset"},
        ),
        (
            body(medium="document", media_source=TEXT, embedding_scope=["local"], segmentation=SENTENCES),
            {"text"},
            {"chunk"},
        ),
        (body(medium="image"), {"visual"}, {"asset"}),
    ],
)
async def test_options_and_scopes_have_the_documented_defaults_and_values(
    served: tuple[Simulator, aiohttp.ClientSession], request_body: dict[str, Any], options: set[str], scopes: set[str]
) -> None:
    result = await created(served, request_body)
    assert {one["embedding_option"] for one in result["data"]} == options
    assert {one["embedding_scope"] for one in result["data"]} == scopes


@pytest.mark.parametrize(
    ("model", "medium", "segmentation", "clip_s"),
    [
        ("3.0", "video", {"strategy": "fixed", "fixed": {"duration_sec": 5}}, 5),
        ("3.5", "video", {"temporal": {"strategy": "fixed", "fixed": {"duration_sec": 5}}}, 5),
        ("3.0", "audio", None, 6),
    ],
)
async def test_fixed_clips_have_their_length_and_the_rest_is_kept(
    served: tuple[Simulator, aiohttp.ClientSession],
    model: str,
    medium: str,
    segmentation: dict[str, Any] | None,
    clip_s: int,
) -> None:
    inner: dict[str, Any] = {} if segmentation is None else {"segmentation": segmentation}
    result = await created(served, body(model, medium, embedding_option=["audio"], start_sec=1, end_sec=12, **inner))
    clips = [(one["start_sec"], one["end_sec"]) for one in result["data"] if one["embedding_scope"] == "clip"]
    expected = [(1 + clip_s * number, min(1 + clip_s * (number + 1), 12)) for number in range(len(clips))]
    assert (clips, clips[-1][1]) == (expected, 12)
    metadata = result["metadata"]
    assert (metadata["start_offset_sec"], metadata["end_offset_sec"]) == (1, 12)
    assert metadata.get("clip_length") == (clip_s if medium == "video" else None)


@pytest.mark.parametrize(
    ("model", "segmentation", "least"),
    [
        ("3.0", None, 4),
        ("3.5", None, 2),
        ("3.0", {"strategy": "dynamic", "dynamic": {"min_duration_sec": 3}}, 3),
        ("3.5", {"temporal": {"strategy": "dynamic", "dynamic": {"min_duration_sec": 5}}}, 5),
    ],
)
async def test_dynamic_clips_follow_one_another_and_are_long_enough(
    served: tuple[Simulator, aiohttp.ClientSession], model: str, segmentation: dict[str, Any] | None, least: int
) -> None:
    inner: dict[str, Any] = {} if segmentation is None else {"segmentation": segmentation}
    result = await created(served, body(model, embedding_option=["visual"], embedding_scope=["clip"], **inner))
    data = result["data"]
    assert (data[0]["start_sec"], data[-1]["end_sec"]) == (0, result["metadata"]["duration"])
    assert [one["end_sec"] for one in data[:-1]] == [one["start_sec"] for one in data[1:]]
    assert all(one["end_sec"] - one["start_sec"] >= least - 0.002 for one in data)


async def test_texts_of_the_clients_own_change_only_the_fused_embedding_of_their_time(
    served: tuple[Simulator, aiohttp.ClientSession],
) -> None:
    sim, _ = served
    texts = [{"start": 0, "end": 1, "text": "A dog arrives."}]
    types = ["separate_embedding", "fused_embedding"]
    result = await created(served, body(embedding_type=types, time_based_metadata=texts, embedding_scope=["clip"]))
    places = sim.catalogue.embeddings(result["_id"]).places
    others = {place.topics for place in places if place.start_s == 0 and place.option != "fused"}
    (fused,) = {place.topics for place in places if place.start_s == 0 and place.option == "fused"}
    assert set(fused) == {topic for topics in others for topic in topics} | {"dog"}
    assert len(others) == 1


async def test_an_image_that_is_too_large_is_taken_and_fails(
    served: tuple[Simulator, aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.simulator.v2.image_fields.MAX_IMAGE_MB", 0.2)
    source = {"base64_string": b64encode(bytes(300 << 10)).decode()}
    result = await created(served, body(medium="image", media_source=source))
    expected = FAILURES["bytes"].message.replace("33.6", "0.3").replace("32", "0.2")
    assert (result["status"], result["error"]["message"]) == ("failed", expected)


async def test_a_video_in_the_request_may_be_large_but_not_too_large(
    served: tuple[Simulator, aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, http = served
    sent = orjson.dumps(body(media_source={"base64_string": b64encode(bytes(2 << 20)).decode()}))
    for most_mb, expected in ((36, 202), (1, 400)):
        monkeypatch.setattr("harvester.simulator.v2.timed_fields.MAX_BASE64_MB", most_mb)
        async with http.post("embed-v2/tasks", data=BytesIO(sent)) as answer:
            assert answer.status == expected


@pytest.mark.parametrize(
    "source", [URL, {"base64_string": "aGVsbG8="}, {"asset_id": "6af03cec5be3a1f0c2d4e6ff"}], ids=min
)
async def test_each_kind_of_source_is_taken(
    served: tuple[Simulator, aiohttp.ClientSession], source: dict[str, Any]
) -> None:
    result = await created(served, body(media_source=source))
    named = {
        name: one for name, one in result["metadata"].items() if name.startswith("input_") and name != "input_type"
    }
    assert named == ({"input_url": URL["url"]} if source == URL else named)
    assert ("input_filename" in named) == ("asset_id" in source)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("input_type", body() | {"input_type": "text"}),
    ("model_name", body() | {"model_name": "Marengo-retrieval-2.7"}),
    ("input_type", body("3.0", "document")),
    ("input_type", body("3.0", "image")),
    ("embedding_dimension", body("3.0", embedding_dimension=512)),
    ("embedding_dimension", body(embedding_dimension=300)),
    ("embedding_uncertainty", body("3.0", embedding_uncertainty=True)),
    ("embedding_uncertainty", body(embedding_uncertainty=True)),
    ("embedding_uncertainty", body(embedding_uncertainty="yes")),
    ("embedding_uncertainty", body(medium="document", media_source=PDF, embedding_uncertainty=True)),
    ("embedding_uncertainty", body(medium="document", media_source=TEXT, embedding_uncertainty=True)),
    ("video.media_source.url", body(media_source={})),
    ("video.media_source.url", body(media_source=URL | {"asset_id": "6af03cec5be3a1f0c2d4e6ff"})),
    ("video.media_source.url", body(media_source={"url": "file:///match.mp4"})),
    ("video.media_source.asset_id", body(media_source={"asset_id": "match"})),
    ("video.media_source.base64_string", body(media_source={"base64_string": "no base64"})),
    ("video.embedding_option", body("3.5", embedding_option=["transcription"])),
    ("video.embedding_option", body(embedding_option=[])),
    ("video.embedding_scope", body("3.0", embedding_scope=["local"])),
    ("video.embedding_type", body("3.0", embedding_option=["visual"], embedding_type=["fused_embedding"])),
    ("video.time_based_metadata", body("3.5", embedding_type=["fused_embedding"])),
    ("video.time_based_metadata", body(time_based_metadata=[{"start": 0, "end": 1, "text": "dog"}])),
    ("video.time_based_metadata", body("3.0", time_based_metadata=[])),
    ("video.end_sec", body(start_sec=5, end_sec=5)),
    ("video.start_sec", body(start_sec=-1)),
    ("video.segmentation", body("3.5", segmentation={"strategy": "fixed", "fixed": {"duration_sec": 5}})),
    ("video.segmentation", body("3.0", segmentation={"temporal": {"strategy": "fixed", "fixed": {"duration_sec": 5}}})),
    (
        "video.segmentation.fixed.duration_sec",
        body("3.0", segmentation={"strategy": "fixed", "fixed": {"duration_sec": 11}}),
    ),
    (
        "video.segmentation.dynamic.min_duration_sec",
        body("3.0", segmentation={"strategy": "dynamic", "dynamic": {"min_duration_sec": 1}}),
    ),
    (
        "audio.segmentation.strategy",
        body("3.0", "audio", segmentation={"strategy": "dynamic", "dynamic": {"min_duration_sec": 2}}),
    ),
    ("document.embedding_scope", body(medium="document", media_source=PDF, embedding_option=["text"])),
    (
        "document.embedding_scope",
        body(medium="document", media_source=TEXT, embedding_option=["visual"], embedding_scope=["asset"]),
    ),
    ("document.embedding_type", body(medium="document", media_source=PDF, embedding_type=["fused_embedding"])),
    ("document.segmentation", body(medium="document", media_source=PDF, segmentation={})),
    ("document.segmentation", body(medium="document", media_source=TEXT, embedding_scope=["local"])),
    (
        "document.segmentation.spatial",
        body(medium="document", media_source=TEXT, segmentation={"spatial": {"strategy": "quadrants"}}),
    ),
    (
        "document.segmentation.spatial",
        body(
            medium="document",
            media_source=PDF,
            embedding_scope=["asset"],
            segmentation={"spatial": {"strategy": "quadrants"}},
        ),
    ),
    ("document.segmentation.sequential", body(medium="document", media_source=PDF, segmentation=SENTENCES)),
    (
        "document.segmentation.sequential.overlap_sentences",
        body(
            medium="document",
            media_source=TEXT,
            embedding_scope=["local"],
            segmentation={"sequential": {"strategy": "sentence", "max_sentences": 2, "overlap_sentences": 2}},
        ),
    ),
    ("image.embedding_option", body(medium="image", embedding_option=["text"])),
    ("image.embedding_type", body(medium="image", embedding_type=["fused_embedding"])),
    ("image.embedding_scope", body(medium="image", embedding_scope=["local"])),
]


@pytest.mark.parametrize(("parameter", "request_body"), REFUSED)
async def test_what_cannot_be_embedded_is_refused_by_name_and_creates_nothing(
    served: tuple[Simulator, aiohttp.ClientSession], parameter: str, request_body: dict[str, Any]
) -> None:
    sim, http = served
    status, answer = await post(http, "embed-v2/tasks", request_body)
    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")
    assert answer["error"]["message"].startswith(f"The {parameter} parameter is invalid.")
    assert sim.catalogue.ids() == []


@pytest.mark.parametrize(
    ("code", "parameter", "request_body"),
    [
        ("parameter_not_provided", "input_type", {"model_name": "marengo3.5"}),
        ("parameter_not_provided", "video", {"model_name": "marengo3.5", "input_type": "video"}),
        ("parameter_not_provided", "video.media_source", body() | {"video": {}}),
        (
            "parameter_not_provided",
            "document.segmentation.sequential.max_sentences",
            body(
                medium="document",
                media_source=TEXT,
                embedding_scope=["local"],
                segmentation={"sequential": {"strategy": "sentence"}},
            ),
        ),
        ("parameter_unknown", "callback", body() | {"callback": "https://example.com"}),
        ("parameter_unknown", "video.clip_length", body(clip_length=6)),
    ],
)
async def test_a_missing_or_unknown_field_is_refused_by_name(
    served: tuple[Simulator, aiohttp.ClientSession], code: str, parameter: str, request_body: dict[str, Any]
) -> None:
    status, answer = await post(served[1], "embed-v2/tasks", request_body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert f"The {parameter} parameter " in answer["error"]["message"]


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"null"])
async def test_a_body_that_is_no_json_object_is_refused(
    served: tuple[Simulator, aiohttp.ClientSession], sent: bytes
) -> None:
    async with served[1].post("embed-v2/tasks", data=sent) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "generic_error")
