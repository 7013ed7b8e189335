from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.simulator import SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clips import dynamic_offsets
from harvester.simulator.layout import SCENE_S, layout_of, layout_size
from harvester.simulator.models import MODELS
from harvester.simulator.requests import MediaRequest, TimedText, default_request

NOON = 1_700_000_000


def catalogue(**settings: object) -> Catalogue:
    return Catalogue(SimulatorSettings(**settings), SimulatorClock(NOON, speed=0))  # type: ignore[arg-type]


@given(length_ms=st.integers(1, 7_200_000), shortest_s=st.integers(2, 5), seed=st.integers(0, 100))
def test_dynamic_parts_follow_one_another_and_are_long_enough(length_ms: int, shortest_s: int, seed: int) -> None:
    end = length_ms / 1000
    parts = dynamic_offsets((0.0, end), shortest_s, np.random.default_rng(seed))
    assert (parts[0][0], parts[-1][1]) == (0.0, end)
    assert all(before == after for (_, before), (after, _) in pairwise(parts))
    assert len(parts) == 1 or all(stop - start >= shortest_s - 0.002 for start, stop in parts)


@pytest.mark.parametrize("medium", ["video", "audio", "document", "image"])
def test_the_same_input_has_the_same_embeddings_in_another_task_and_shorter_ones_are_their_beginning(
    medium: str,
) -> None:
    tasks = catalogue(seed=3)
    requests = [
        default_request(medium, MODELS["marengo3.5"], filename="same", dimension=dimension)  # type: ignore[arg-type]
        for dimension in (512, 512, 128)
    ]
    whole, again, short = (tasks.embeddings(tasks.create(request).task_id) for request in requests)
    assert whole.places == again.places == short.places
    np.testing.assert_array_equal(whole.vectors, again.vectors)
    np.testing.assert_array_equal(whole.vectors[:, :128], short.vectors)


def test_clips_show_the_topic_of_their_scene_and_the_whole_shows_all() -> None:
    tasks = catalogue(seed=3, duration_s=(60, 60))
    task = tasks.create(default_request("video", MODELS["marengo3.0"]))
    places = layout_of(3, task)
    by_scene: dict[int, set[str]] = {}
    for place in places:
        if place.scope == "clip" and place.start_s is not None and place.end_s is not None:
            by_scene.setdefault(int((place.start_s + place.end_s) / 2 // SCENE_S), set()).update(place.topics)
    assert all(len(topics) == 1 for topics in by_scene.values())
    (whole,) = {place.topics for place in places if place.scope == "asset"}
    assert set(whole) == set().union(*by_scene.values())


def test_a_name_decides_what_is_shown() -> None:
    tasks = catalogue()
    task = tasks.create(default_request("document", MODELS["marengo3.5"], filename="dog.pdf"))
    assert {place.topics for place in layout_of(0, task)} == {("dog",)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [((0, 1), True), ((5, 5), True), ((6, 6), False), ((6, 9), False), ((-2, -1), False)],
)
def test_a_text_is_about_what_it_overlaps(text: tuple[float, float], expected: bool) -> None:  # noqa: FBT001
    assert TimedText(*text, "dog").overlaps(0.0, 6.0) == expected


def test_chunks_repeat_sentences_until_all_are_covered() -> None:
    tasks = catalogue()
    request = MediaRequest(
        medium="document",
        model=MODELS["marengo3.5"],
        options=("text",),
        scopes=("local",),
        file_format="text",
        max_sentences=6,
        overlap_sentences=2,
        filename="notes.txt",
    )
    task = tasks.create(request)
    count = len(layout_of(0, task))
    assert 4 * (count - 1) + 2 < task.sentences <= 4 * count + 2


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_the_estimated_size_is_not_below_the_real_one(api: str) -> None:
    media = ("video", "audio", "document", "image")
    tasks = catalogue(tasks=40, api=api, media=media, duration_s=(20, 600), fused=True)
    for task_id in tasks.ids():
        task = tasks.task(task_id)
        assert layout_size(task) >= len(layout_of(0, task)) - len(task.request.options) - 1
