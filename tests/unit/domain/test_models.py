"""The model of a result that does not name it follows from what only one model makes, and from nothing else."""

from dataclasses import replace

import pytest

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.models import ModelSource, ResultSigns, infer_model, model_of

NOTHING = MediaMetadata()
PLAIN = ResultSigns(options=["visual", "audio", None], scopes=["clip", "asset", None], dim=512, has_uncertainty=False)


@pytest.mark.parametrize(
    ("metadata", "result", "model"),
    [
        (NOTHING, PLAIN, None),
        (MediaMetadata(input_type="video", options=("visual",), scopes=("clip", "local")), PLAIN, None),
        (MediaMetadata(input_type="document"), PLAIN, "marengo3.5"),
        (MediaMetadata(input_type="image"), PLAIN, "marengo3.5"),
        (MediaMetadata(embedding_dimension=512), PLAIN, "marengo3.5"),
        (MediaMetadata(is_truncated=False), PLAIN, "marengo3.5"),
        (MediaMetadata(tokens=(("video", 7),)), PLAIN, "marengo3.5"),
        (MediaMetadata(options=("transcription",)), PLAIN, "marengo3.0"),
        (NOTHING, replace(PLAIN, options=["visual", "transcription"]), "marengo3.0"),
        (NOTHING, replace(PLAIN, options=["text"]), "marengo3.5"),
        (NOTHING, replace(PLAIN, scopes=["page"]), "marengo3.5"),
        (NOTHING, replace(PLAIN, scopes=["chunk"]), "marengo3.5"),
        (NOTHING, replace(PLAIN, dim=128), "marengo3.5"),
        (NOTHING, replace(PLAIN, dim=256), "marengo3.5"),
        (NOTHING, replace(PLAIN, dim=1024), None),
        (NOTHING, replace(PLAIN, has_uncertainty=True), "marengo3.5"),
        (MediaMetadata(options=("transcription",), is_truncated=False), PLAIN, None),
    ],
)
def test_a_model_is_inferred_where_no_other_makes_such_a_result(
    metadata: MediaMetadata, result: ResultSigns, model: str | None
) -> None:
    assert infer_model(metadata, result) == model


@pytest.mark.parametrize(
    ("metadata", "listed", "expected"),
    [
        (MediaMetadata("a", is_truncated=False), "b", ("a", ModelSource.ANSWER)),
        (MediaMetadata(is_truncated=False), "b", ("b", ModelSource.LIST)),
        (MediaMetadata(is_truncated=False), None, ("marengo3.5", ModelSource.INFERRED)),
        (NOTHING, None, (None, None)),
    ],
)
def test_the_answer_comes_before_the_list_and_the_list_before_an_inference(
    metadata: MediaMetadata, listed: str | None, expected: tuple[str | None, ModelSource | None]
) -> None:
    assert model_of(metadata, listed, PLAIN) == expected
