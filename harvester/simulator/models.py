"""The embedding models that the stand-in knows: dimensions, media, and the embedding options of each medium."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Medium = Literal["video", "audio", "document", "image"]
MEDIA: tuple[Medium, ...] = get_args(Medium)


@dataclass(frozen=True, slots=True)
class Model:
    """One embedding model; `options` are all it can compute of a video, in the order of its answers.

    `media` has the options of each medium in version 2 of the API; without it, version 2 does not know the model.
    """

    name: str
    dim: int
    options: tuple[str, ...]
    default_options: tuple[str, ...]
    media: Mapping[Medium, tuple[str, ...]]
    shorter_dims: tuple[int, ...] = ()
    """Other lengths of vector that it offers; each vector is the beginning of the longer one."""

    @property
    def dims(self) -> tuple[int, ...]:
        """All lengths of vector that it offers."""
        return (*self.shorter_dims, self.dim)

    @property
    def counts_tokens(self) -> bool:
        """Whether its answers have what came with Marengo 3.5: `usage`, dimensions, uncertainty."""
        return bool(self.shorter_dims)


MARENGO_30 = Model(
    "marengo3.0",
    512,
    ("visual", "audio", "transcription"),
    ("visual", "audio"),
    {"video": ("visual", "audio", "transcription"), "audio": ("audio", "transcription")},
)
MARENGO_35 = Model(
    "marengo3.5",
    512,
    ("visual", "audio"),
    ("visual", "audio"),
    {"video": ("visual", "audio"), "audio": ("audio",), "document": ("visual", "text"), "image": ("visual",)},
    (128, 256),
)
MARENGO_27 = Model("Marengo-retrieval-2.7", 1024, ("visual-text", "audio"), ("visual-text", "audio"), {})

MODELS = {model.name: model for model in (MARENGO_30, MARENGO_35, MARENGO_27)}
V1_MODELS = {model.name: model for model in (MARENGO_30, MARENGO_27)}
"""Models of tasks that version 1 has made. It makes new ones with the first only."""
V2_MODELS = {model.name: model for model in MODELS.values() if model.media}

EVERY_OPTION = tuple(dict.fromkeys(option for model in V1_MODELS.values() for option in model.options))
SCOPES = ("clip", "video")
MIN_CLIP_S = 2.0  # version 1 drops a shorter last clip
MAX_CLIP_S = 10.0
