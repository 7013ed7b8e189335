"""Queries on the stand-in: a text is near the clips that show what it names."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from harvester.simulator.models import MODELS
from harvester.simulator.requests import EmbedRequest, VideoRequest, default_request
from harvester.simulator.topics import TOPICS
from tests.support.simulated import post, simulated

FIXTURES = Path(__file__).parents[1] / "fixtures"
IMAGE = {"url": "https://media.example/logo.png"}
PDF, TEXT = {"url": "https://media.example/rules.pdf"}, {"url": "https://media.example/notes.md"}


def text_query(model: str, text: str, **outer: Any) -> dict[str, Any]:
    kind = "multi_input" if model == "3.5" else "text"
    return {"model_name": f"marengo{model}", "input_type": kind, kind: {"input_text": text}, **outer}


def sources_query(*sources: tuple[str, dict[str, Any]], text: str | None = None, **outer: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"media_sources": [{"media_type": kind, **source} for kind, source in sources]}
    if text is not None:
        inner["input_text"] = text
    return {"model_name": "marengo3.5", "input_type": "multi_input", "multi_input": inner, **outer}


def request_for(model: str, version: str, name: str, dimension: int) -> EmbedRequest:
    chosen = MODELS[f"marengo{model}"]
    if version == "v1":
        return VideoRequest(model=chosen, options=("visual",), clip_length_s=6.0, filename=name, scopes=("clip",))
    return default_request("video", chosen, filename=name, dimension=dimension)


def unit(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    vectors = np.array(rows, dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors


async def test_the_answer_has_the_documented_shape_and_numbers_of_float32() -> None:
    expected = orjson.loads((FIXTURES / "query_v2_text.json").read_bytes())
    async with simulated() as (_, http):
        status, body = await post(http, "embed-v2", text_query("3.0", "A dog on a beach."))
    vector = body["data"][0].pop("embedding")
    assert len(vector) == len(expected["data"][0].pop("embedding"))
    # The SDK cannot read this part of the example.
    assert expected.pop("metadata") == {"input_type": "text"}
    assert (status, body) == (200, expected)
    assert vector == [float(str(number)) for number in np.array(vector, dtype=np.float32)]


@pytest.mark.parametrize(
    ("model", "version", "dimension"), [("3.0", "v1", 512), ("3.0", "v2", 512), ("3.5", "v2", 512), ("3.5", "v2", 128)]
)
async def test_a_text_finds_the_clips_that_show_its_topic(model: str, version: str, dimension: int) -> None:
    requests = [request_for(model, version, f"{number}.mp4", dimension) for number in range(20)]
    async with simulated(duration_s=(60.0, 60.0)) as (sim, http):
        held = [sim.catalogue.embeddings(sim.catalogue.hold(request).task_id) for request in requests]
        clips = [(place, row) for one in held for place, row in zip(one.places, one.vectors, strict=True)]
        clips = [(place, row) for place, row in clips if place.scope == "clip"]
        topic = clips[0][0].topics[0]
        outer = {"embedding_dimension": dimension} if model == "3.5" else {}
        _, body = await post(http, "embed-v2", text_query(model, f"Where is the {topic.upper()}?", **outer))
        _, other = await post(http, "embed-v2", text_query(model, "Where is it?", **outer))
    showing = np.array([topic in place.topics for place, _ in clips])
    vectors = unit([row for _, row in clips])
    cosines = vectors @ unit(body["data"][0]["embedding"])
    assert 0 < showing.sum() < len(clips)
    assert cosines[showing].min() > cosines[~showing].max()
    assert (vectors @ unit(other["data"][0]["embedding"])).max() < cosines[showing].min()


async def test_the_models_cannot_be_compared() -> None:
    async with simulated() as (_, http):
        vectors = [
            (await post(http, "embed-v2", text_query(model, "A dog.")))[1]["data"][0]["embedding"]
            for model in ("3.0", "3.5")
        ]
    assert abs(float(unit(vectors[0]) @ unit(vectors[1]))) < 0.3


async def test_the_same_query_has_the_same_vector_and_a_shorter_one_is_its_beginning() -> None:
    async with simulated(seed=1) as (_, first), simulated(seed=2) as (_, second):
        whole = (await post(first, "embed-v2", text_query("3.5", "A dog.")))[1]["data"][0]["embedding"]
        for dimension in (128, 256, 512):
            query = text_query("3.5", "A dog.", embedding_dimension=dimension)
            _, body = await post(second, "embed-v2", query)
            assert body["data"][0]["embedding"] == whole[:dimension]
            assert body["metadata"] == {"input_type": "multi_input", "embedding_dimension": dimension}


async def test_a_medium_whose_url_names_a_topic_shows_it() -> None:
    dog = {"url": "https://media.example/dog.png"}
    async with simulated() as (_, http):
        _, text = await post(http, "embed-v2", text_query("3.5", "dog"))
        _, image = await post(http, "embed-v2", sources_query(("image", dog)))
        _, other = await post(http, "embed-v2", sources_query(("image", IMAGE)))
    text_vector, image_vector, other_vector = (unit(one["data"][0]["embedding"]) for one in (text, image, other))
    assert text_vector @ image_vector > 0.4 > text_vector @ other_vector
    assert image["usage"] == {"input_tokens": {"image": 256}, "truncated": False}


@pytest.mark.parametrize("medium", ["audio", "video"])
async def test_marengo_30_embeds_a_whole_video_or_audio_at_once(medium: str) -> None:
    query = {
        "model_name": "marengo3.0",
        "input_type": medium,
        medium: {"media_source": {"url": "https://media.example/rain.mp4"}, "embedding_scope": ["asset"]},
    }
    async with simulated() as (_, http):
        status, body = await post(http, "embed-v2", query)
        _, text = await post(http, "embed-v2", text_query("3.0", "rain"))
    assert (status, body["metadata"]["input_type"]) == (200, medium)
    assert {one["embedding_scope"] for one in body["data"]} == {"asset"}
    assert unit(body["data"][0]["embedding"]) @ unit(text["data"][0]["embedding"]) > 0.4


async def test_an_image_and_a_text_are_embedded_together() -> None:
    inner = {"media_source": IMAGE, "input_text": "A dog."}
    query = {"model_name": "marengo3.0", "input_type": "text_image", "text_image": inner}
    async with simulated() as (_, http):
        status, body = await post(http, "embed-v2", query)
    assert (status, body["metadata"]) == (200, {"input_type": "text_image", "input_url": IMAGE["url"]})


async def test_uncertainty_is_as_long_as_the_vector() -> None:
    query = text_query("3.5", "A dog.", embedding_dimension=128, embedding_uncertainty=True)
    async with simulated() as (_, http):
        _, body = await post(http, "embed-v2", query)
    assert len(body["data"][0]["embedding_uncertainty"]) == 128
    assert min(body["data"][0]["embedding_uncertainty"]) >= 0


async def test_a_text_that_is_too_long_is_refused_or_truncated() -> None:
    text = "dog " * 2001
    async with simulated() as (_, http):
        refused, _ = await post(http, "embed-v2", text_query("3.5", text))
        status, body = await post(http, "embed-v2", text_query("3.5", text, auto_truncate=True))
        assert (await post(http, "embed-v2", text_query("3.0", "dog " * 501)))[0] == 400
    assert (refused, status) == (400, 200)
    assert body["usage"] == {
        "input_tokens": {"text": 2000},
        "truncated": True,
        "truncation_reason": "model_context_window",
    }


@pytest.mark.parametrize(
    "query",
    [
        text_query("3.0", "dog", auto_truncate=True),
        text_query("3.0", "dog", embedding_dimension=128),
        {"model_name": "marengo3.5", "input_type": "text", "text": {"input_text": "dog"}},
        {"model_name": "marengo3.0", "input_type": "text", "text": {}},
        {"model_name": "Marengo-retrieval-2.7", "input_type": "text", "text": {"input_text": "dog"}},
        sources_query(),
        sources_query(*[("image", IMAGE)] * 11),
        sources_query(("image", IMAGE), ("video", IMAGE)),
        sources_query(("image", IMAGE), text="A person with <@hat>."),
        sources_query(("document", PDF), text="dog"),
        sources_query(("document", PDF), ("document", PDF)),
        sources_query(("document", TEXT), text="dog"),
        sources_query(("document", TEXT), ("document", TEXT)),
        sources_query(("image", IMAGE), text="dog", embedding_uncertainty=True),
        sources_query(("document", PDF), embedding_uncertainty=True),
    ],
)
async def test_what_no_model_combines_is_refused(query: dict[str, Any]) -> None:
    async with simulated() as (_, http):
        status, body = await post(http, "embed-v2", query)
    assert (status, body.keys()) == (400, {"error"})


async def test_a_source_that_is_too_large_is_error_413(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.simulator.v2.query_fields.MAX_SOURCE_MB", 0.2)
    async with simulated() as (_, http):
        status, body = await post(http, "embed-v2", sources_query(("image", {"base64_string": "A" * (400 << 10)})))
    assert (status, body.keys()) == (413, {"error"})


async def test_a_query_is_on_record() -> None:
    async with simulated() as (sim, http):
        await post(http, "embed-v2", text_query("3.0", "dog"))
    (record,) = sim.requests
    assert (record.endpoint, record.version, record.task_id) == ("query", "v2", None)
    assert sim.requests.count("query", 200, "v2") == 1
    assert len(TOPICS) == len(set(TOPICS))
