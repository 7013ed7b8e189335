import numpy as np
import pytest

from harvester.simulator.models import MODELS
from harvester.simulator.topics import SHARE, TOPICS, near_topics, to_unit_length, topic_of, topics_in


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("A DOG, a beach - and rain!", ("beach", "dog", "rain")),
        ("https://media.example/snow_2.mp4", ("snow",)),
        ("The hotdogs of Riverside", ()),
        ("", ()),
    ],
)
def test_a_text_is_about_the_topics_whose_words_it_holds(text: str, topics: tuple[str, ...]) -> None:
    assert topics_in(text) == topics


def test_every_topic_is_shown_somewhere_and_the_same_scene_always_shows_the_same() -> None:
    shown = [topic_of(0, 7, scene) for scene in range(500)]
    assert set(shown) == set(TOPICS)
    assert shown == [topic_of(0, 7, scene) for scene in range(500)]
    assert shown != [topic_of(0, 8, scene) for scene in range(500)]


@pytest.mark.parametrize("model", MODELS)
def test_vectors_are_near_to_their_topic_and_far_from_others(model: str) -> None:
    chosen = MODELS[model]
    noise = to_unit_length(np.random.default_rng(1).standard_normal((len(TOPICS) + 1, chosen.dim)))
    vectors = near_topics(chosen, [("dog",), *((topic,) for topic in TOPICS)], noise)
    cosines = vectors @ vectors[0]
    is_dog = np.array([True, *(topic == "dog" for topic in TOPICS)])
    assert cosines[is_dog][1:] == pytest.approx(SHARE, abs=0.15)
    assert np.abs(cosines[~is_dog]).max() < SHARE / 2
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)


def test_without_a_topic_the_direction_stays() -> None:
    noise = to_unit_length(np.random.default_rng(1).standard_normal((1, 512)))
    np.testing.assert_allclose(near_topics(MODELS["marengo3.5"], [()], noise), noise)
