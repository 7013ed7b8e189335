"""The embedding models that the stand-in knows: dimension and embedding options of each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """One embedding model; `options` are all it can compute, in the order of its answers."""

    name: str
    dim: int
    options: tuple[str, ...]
    default_options: tuple[str, ...]


MODELS = {
    model.name: model
    for model in (
        Model("marengo3.0", 512, ("visual", "audio", "transcription"), ("visual", "audio")),
        Model("Marengo-retrieval-2.7", 1024, ("visual-text", "audio"), ("visual-text", "audio")),
    )
}

EVERY_OPTION = tuple(dict.fromkeys(option for model in MODELS.values() for option in model.options))
SCOPES = ("clip", "video")
MIN_CLIP_S = 2.0  # the platform drops a shorter last clip
MAX_CLIP_S = 10.0
