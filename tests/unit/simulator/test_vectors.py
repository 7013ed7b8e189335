from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator import SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clips import clip_offsets

NOON = 1_700_000_000


def catalogue(settings: SimulatorSettings) -> Catalogue:
    return Catalogue(settings, SimulatorClock(NOON, speed=0))


def ready(length_s: float = 18.0) -> SimulatorSettings:
    return SimulatorSettings(tasks=1, duration_s=(length_s, length_s), processing_median_s=0)


def test_a_rest_shorter_than_two_seconds_is_dropped() -> None:
    expected = [(0.0, 6.0), (6.0, 12.0), (12.0, 18.0), (18.0, 24.0), (24.0, 30.0)]
    assert clip_offsets((0.0, 31.0), 6.0) == expected


def test_a_rest_of_two_seconds_or_more_is_a_clip_with_a_fractional_end() -> None:
    assert clip_offsets((0.0, 21.087732), 6.0)[-1] == (18.0, 21.087732)


@given(length_us=st.integers(2_000_000, 20_000_000_000), clip_s=st.floats(2, 10))
def test_clips_follow_one_another_and_leave_out_less_than_two_seconds(length_us: int, clip_s: float) -> None:
    length_s = length_us / 1e6
    clips = clip_offsets((0.0, length_s), clip_s)
    assert clips[0][0] == 0
    assert all(2 <= end - start <= clip_s + 1e-5 for start, end in clips)
    assert all(abs(end - start) < 1e-5 for (_, end), (start, _) in pairwise(clips))
    assert 0 <= length_s - clips[-1][1] < 2 + 1e-5


@pytest.mark.parametrize(("model_name", "dim"), [("marengo3.0", 512), ("Marengo-retrieval-2.7", 1024)])
def test_every_vector_is_float32_of_the_models_dimension_and_of_unit_length(model_name: str, dim: int) -> None:
    tasks = catalogue(SimulatorSettings(tasks=3, model_name=model_name, duration_s=(600, 1200)))
    for task_id in tasks.ids():
        vectors = tasks.embeddings(task_id).vectors
        assert (vectors.dtype.str, vectors.shape[1]) == ("<f4", dim)
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, rtol=0, atol=1e-6)


def test_the_same_seed_and_id_give_the_same_vectors_bit_for_bit() -> None:
    first, second = catalogue(SimulatorSettings(tasks=2, seed=7)), catalogue(SimulatorSettings(tasks=2, seed=7))
    assert first.ids() == second.ids()
    for task_id in first.ids():
        expected = first.embeddings(task_id).vectors.tobytes()
        assert second.embeddings(task_id).vectors.tobytes() == expected


def test_another_task_and_another_option_have_other_vectors() -> None:
    tasks = catalogue(SimulatorSettings(tasks=2))
    rows = np.concatenate([tasks.embeddings(task_id).vectors for task_id in tasks.ids()])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_an_options_vectors_do_not_depend_on_which_others_are_asked_for() -> None:
    tasks = catalogue(SimulatorSettings(tasks=1))
    task_id = tasks.ids()[0]
    everything, audio = tasks.embeddings(task_id), tasks.embeddings(task_id, ("audio",))
    expected = everything.vectors[[option == "audio" for option in everything.options]]
    np.testing.assert_array_equal(audio.vectors, expected, strict=True)


def test_an_option_that_was_not_computed_has_no_segments() -> None:
    tasks = catalogue(SimulatorSettings(tasks=1))
    assert len(tasks.embeddings(tasks.ids()[0], ("transcription",))) == 0


def test_each_option_has_its_clips_and_then_one_segment_for_the_whole_video() -> None:
    tasks = catalogue(ready(length_s=15.5))
    embeddings = tasks.embeddings(tasks.ids()[0])
    assert embeddings.options == ("visual",) * 4 + ("audio",) * 4
    assert embeddings.scopes == ("clip", "clip", "clip", "video") * 2
    assert embeddings.start_offsets_s == (0, 6, 12, 0) * 2
    assert embeddings.end_offsets_s == (6, 12, 15.5, 15.5) * 2


def test_the_body_carries_the_shortest_decimals_of_the_float32_numbers() -> None:
    tasks = catalogue(ready())
    task_id = tasks.ids()[0]
    segments = orjson.loads(tasks.document(task_id))["video_embedding"]["segments"]
    received = np.array([segment["float"] for segment in segments])
    expected = tasks.embeddings(task_id).vectors
    np.testing.assert_array_equal(received.astype(np.float32), expected, strict=True)
    shortest = [[float(str(number)) for number in row] for row in expected]
    assert received.tolist() == shortest


def test_whole_seconds_are_written_without_a_fraction() -> None:
    tasks = catalogue(ready())
    body = tasks.document(tasks.ids()[0])
    assert b'"duration":18,' in body
    assert b'"end_offset_sec":6,' in body
