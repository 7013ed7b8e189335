"""Names of models as people give them, and whether vectors can be of that model."""

import re

from harvester.domain.errors import UsageError

_NAME = re.compile(r"marengo(?:-retrieval-)?[0-9]+\.[0-9]+", re.ASCII | re.IGNORECASE)
_BEDROCK_NAME = re.compile(r"(?:[a-z]+\.)?twelvelabs\.marengo-embed-([0-9]+)-([0-9]+)-v[0-9:]+", re.ASCII)
_RETRIEVAL = "marengo-retrieval-"

_DIMENSIONS = {
    "marengo2.6": (1024,),
    "marengo2.7": (1024,),
    "marengo3.0": (512,),
    "marengo3.5": (128, 256, 512),
}

BEDROCK_MODELS = ("marengo2.7", "marengo3.0")
"""The models whose embeddings Amazon Bedrock makes."""


def given_model(text: str) -> str:
    """Return the model's name as the API writes it; also for the id of a model in Bedrock. Raises UsageError."""
    name = text.strip()
    if found := _BEDROCK_NAME.fullmatch(name):
        return f"marengo{found[1]}.{found[2]}"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--model {text!a} is not the name of a model.", remedy=f"Give one of {', '.join(_DIMENSIONS)}."
        )
    # Version 1 of the API has called older models Marengo-retrieval-2.6.
    return name if name.lower().startswith(_RETRIEVAL) else name.lower()


def models_of(dim: int) -> list[str]:
    """Return the models that make vectors of that many numbers, those of other lengths too if none does."""
    return [name for name, dimensions in _DIMENSIONS.items() if dim in dimensions] or list(_DIMENSIONS)


def makes_vectors_of(model: str, dim: int) -> bool:
    """Return False only if another model makes vectors of that many numbers, and this one does not."""
    known = _DIMENSIONS.get(model.lower().replace("-retrieval-", ""))
    return known is None or dim in known or not any(dim in others for others in _DIMENSIONS.values())
