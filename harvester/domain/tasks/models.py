"""The model of a result that does not name it, from what only one model makes; and where the name comes from."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from harvester.domain.tasks.embeddings import MediaMetadata

MARENGO_3_0 = "marengo3.0"
MARENGO_3_5 = "marengo3.5"


class ModelSource(StrEnum):
    """What names the model of a result; the value of the column `videos.model_source`."""

    ANSWER = "answer"
    LIST = "list"
    """An entry of the account's list."""
    INFERRED = "inferred"
    """What only one model makes."""
    GIVEN = "given"
    """A person, for an imported file."""


_OPTIONS = {"transcription": MARENGO_3_0, "text": MARENGO_3_5}
_SCOPES = {"page": MARENGO_3_5, "chunk": MARENGO_3_5}
_INPUT_TYPES = {"document": MARENGO_3_5, "image": MARENGO_3_5}
_DIMENSIONS = {128: MARENGO_3_5, 256: MARENGO_3_5}
"""What only one model makes, by the documentation of version 2 of the API (2026). 3.0 makes 512 numbers only."""


@dataclass(frozen=True, slots=True)
class ResultSigns:
    """Signs of the model in a result: the options and scopes of its segments, and the length `dim` of its vectors."""

    options: Iterable[str | None]
    scopes: Iterable[str | None]
    dim: int
    has_uncertainty: bool


def infer_model(metadata: MediaMetadata, result: ResultSigns) -> str | None:
    """Return the only model that makes such a result; None if several do, or if the signs contradict each other."""
    signs = {_INPUT_TYPES.get(metadata.input_type or ""), _DIMENSIONS.get(result.dim)}
    signs |= {_OPTIONS.get(option or "") for option in {*result.options, *metadata.options}}
    signs |= {_SCOPES.get(scope or "") for scope in {*result.scopes, *metadata.scopes}}
    if result.has_uncertainty or metadata.has_usage or metadata.embedding_dimension is not None:
        signs.add(MARENGO_3_5)
    signs.discard(None)
    return signs.pop() if len(signs) == 1 else None


def model_of(metadata: MediaMetadata, listed: str | None, result: ResultSigns) -> tuple[str | None, ModelSource | None]:
    """Return the model of a result and where its name comes from; `listed` is the model in the account's list."""
    if metadata.model_name is not None:
        return metadata.model_name, ModelSource.ANSWER
    if listed is not None:
        return listed, ModelSource.LIST
    if metadata.given_model is not None:
        return metadata.given_model, ModelSource.GIVEN
    inferred = infer_model(metadata, result)
    return inferred, ModelSource.INFERRED if inferred is not None else None
