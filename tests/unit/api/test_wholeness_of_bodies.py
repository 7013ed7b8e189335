"""Whole results raise no warning, as they come: those of the stand-in, and bodies in the documented shapes."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.wholeness import missing_parts
from harvester.simulator import SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.models import MEDIA, MODELS
from harvester.simulator.requests import MediaRequest, VideoRequest
from harvester.simulator.settings import SeededApi
from tests.support.thorough import examples

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOON = 1_700_000_000


def missing_of(body: bytes, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    outcome = decode_retrieval(body, None, 1 << 26)
    assert isinstance(outcome, Retrieved)
    return missing_parts(outcome.embeddings, asked)


@pytest.mark.parametrize("name", ["v2_ready", "v2_document_35", "v2_image_35", "v2_text_chunks_35"])
def test_a_whole_documented_body_lacks_nothing(name: str) -> None:
    assert missing_of((FIXTURES / f"retrieve_{name}.json").read_bytes()) == ()


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("v1_ready", ["The clips of visual end at 12 s, but the embedded part of the input ends at 18 s."]),
        (
            "v2_video_35",
            [
                "The clips of visual end at 6 s, but the embedded part of the input ends at 92.4 s.",
                "The clips of audio end at 6 s, but the embedded part of the input ends at 92.4 s.",
            ],
        ),
        (
            "v2_audio_30",
            [
                "The clips of audio end at 12 s, but the embedded part of the input ends at 1800 s.",
                "The clips of transcription end at 12 s, but the embedded part of the input ends at 1800 s.",
            ],
        ),
    ],
)
def test_a_documented_body_that_was_cut_to_few_clips_says_so(name: str, missing: list[str]) -> None:
    assert list(missing_of((FIXTURES / f"retrieve_{name}.json").read_bytes())) == missing


def test_the_options_of_both_versions_are_compared_with_those_of_the_segments() -> None:
    new = orjson.loads((FIXTURES / "retrieve_v2_ready.json").read_bytes())
    new["metadata"] = {"input_type": "video", "embedding_options": ["visual", "audio", "transcription"]}
    old = orjson.loads((FIXTURES / "retrieve_v1_ready.json").read_bytes())
    old["video_embedding"]["metadata"] = {"video_embedding_option": ["visual", "audio", "transcription"]}
    missing = "No segment has the option transcription, which the task was made with."
    assert missing_of(orjson.dumps(new)) == (missing,)
    assert missing in missing_of(orjson.dumps(old))
    assert missing not in missing_of(orjson.dumps(old), ("visual", "audio"))


def test_a_missing_page_of_a_document_is_named() -> None:
    body = orjson.loads((FIXTURES / "retrieve_v2_document_35.json").read_bytes())
    for segment in body["data"]:
        if segment["start_page_number"] == 2:
            segment["start_page_number"] = segment["end_page_number"] = 4
    assert missing_of(orjson.dumps(body)) == ("No segment has page 2, nor 1 more of the pages up to 4.",)


@examples(40)
@given(
    seed=st.integers(0, 10**6),
    api=st.sampled_from(["v1", "v2"]),
    clip_length_s=st.floats(2.5, 10.0),
    length_s=st.floats(2.0, 300.0),
    asked=st.sampled_from([(), ("visual",), ("audio", "transcription")]),
)
def test_a_result_of_the_stand_in_lacks_nothing(
    seed: int, api: SeededApi, clip_length_s: float, length_s: float, asked: tuple[str, ...]
) -> None:
    settings = SimulatorSettings(
        seed=seed,
        tasks=4 if api == "v2" else 1,
        age_s=3600,
        api=api,
        media=MEDIA,
        duration_s=(length_s, length_s),
        clip_length_s=clip_length_s,
        dimension=128,
    )
    tasks = Catalogue(settings, SimulatorClock(NOON, speed=0))
    for task_id in tasks.ids():
        options = asked if api == "v1" else ()
        assert missing_of(tasks.document(task_id, options), options) == ()


@examples(40)
@given(
    start_s=st.floats(0.0, 100.0),
    length_s=st.floats(4.0, 100.0),
    scopes=st.sampled_from([("clip", "video"), ("video",)]),
    is_v1=st.booleans(),
)
def test_a_result_for_a_part_of_a_video_lacks_nothing(
    start_s: float,
    length_s: float,
    scopes: tuple[str, ...],
    is_v1: bool,  # noqa: FBT001  # hypothesis names it
) -> None:
    tasks = Catalogue(SimulatorSettings(), SimulatorClock(NOON, speed=0))
    span_s = (round(start_s, 3), round(start_s + length_s, 3))
    request = (
        VideoRequest(
            model=MODELS["marengo3.0"],
            options=("visual", "audio"),
            clip_length_s=6.0,
            scopes=scopes,
            span_s=span_s,
            filename="a.mp4",
        )
        if is_v1
        else MediaRequest(
            medium="video",
            model=MODELS["marengo3.5"],
            options=("visual", "audio"),
            scopes=("clip", "asset"),
            span_s=span_s,
            filename="a.mp4",
        )
    )
    task = tasks.hold(request, age_s=3600, processing_s=1, duration_s=600.0, failure="")
    assert missing_of(tasks.document(task.task_id, ())) == ()
