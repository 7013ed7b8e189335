"""What the simulated media show: a small vocabulary, and a direction for each of its words.

Each clip, page, chunk or image has a topic, and its vectors lie near the topic's direction. So does the vector of a
text that holds the word: a search for it finds the clips that show it.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harvester.simulator.models import Model

TOPICS = (
    "airport",
    "beach",
    "bicycle",
    "bridge",
    "cat",
    "concert",
    "cooking",
    "dance",
    "dog",
    "fire",
    "football",
    "forest",
    "guitar",
    "horse",
    "mountain",
    "rain",
    "river",
    "snow",
    "train",
    "wedding",
)

SHARE = 0.6
"""The cosine between two vectors of one model with the same topic; random directions make it vary by 0.1."""

_WORD = re.compile(r"[a-z]+")


def topics_in(text: str) -> tuple[str, ...]:
    """Return the topics whose words are in `text`, in the order of the vocabulary."""
    words = set(_WORD.findall(text.lower()))
    return tuple(topic for topic in TOPICS if topic in words)


def topic_of(seed: int, content: int, scene: int) -> str:
    """Return the topic of a scene, page or chunk; the same arguments always give the same one."""
    digest = hashlib.blake2b(f"{seed} {content} {scene}".encode(), digest_size=4).digest()
    return TOPICS[int.from_bytes(digest) % len(TOPICS)]


def near_topics(
    model: Model, topics: Sequence[tuple[str, ...]], noise: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return float64[n, dim]: each row of `noise`, of unit length, moved near its topics; unit length again.

    A row without topics keeps its direction.
    """
    rows = {shown: row for row, shown in enumerate(dict.fromkeys(topics))}
    directions = SHARE**0.5 * np.stack([_direction(model.name, model.dim, shown) for shown in rows])
    vectors = (1 - SHARE) ** 0.5 * noise
    vectors += directions[[rows[shown] for shown in topics]]
    return to_unit_length(vectors)


def to_unit_length(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide each row by its length, in place."""
    # Normalised before any cast to float32: afterwards the rounding of the length would be added to that of the
    # numbers.
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, np.newaxis]
    return vectors


@lru_cache(maxsize=4096)
def _direction(model_name: str, dim: int, topics: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return the middle of the topics' directions, of unit length (zero without topics); each model has its own."""
    total = np.zeros(dim)
    for topic in topics:
        stream = np.random.default_rng([int.from_bytes(model_name.encode()), int.from_bytes(topic.encode())])
        total += stream.standard_normal(dim)
    return to_unit_length(total[np.newaxis])[0] if topics else total
