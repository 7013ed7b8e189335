"""Each version of the API has its own calls; what an answer means is the same wherever it comes from."""

import pytest

from harvester.api.dialects import DIALECTS
from harvester.api.dialects.dialect import ErrorBody
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.outcomes import NotFound
from harvester.domain.tasks.task import ApiVersion

FLAT = b'{"code": "resource_not_exists", "message": "Gone."}'
NESTED = b'{"error": {"code": "resource_not_exists", "message": "Gone."}}'


@pytest.mark.parametrize(
    ("version", "endpoint", "path", "brings_result"),
    [
        ("v1", Endpoint.STATUS, "embed/tasks/x/status", False),
        ("v1", Endpoint.RETRIEVE, "embed/tasks/x", True),
        ("v2", Endpoint.STATUS, "embed-v2/tasks/x", True),
        ("v2", Endpoint.RETRIEVE, "embed-v2/tasks/x", True),
    ],
)
def test_the_calls_about_a_task(version: ApiVersion, endpoint: Endpoint, path: str, *, brings_result: bool) -> None:
    dialect = DIALECTS[version]
    assert ("/".join(dialect.task_path("x", endpoint)), dialect.brings_result(endpoint)) == (path, brings_result)
    assert dialect.version == version


@pytest.mark.parametrize("version", DIALECTS)
@pytest.mark.parametrize("body", [FLAT, NESTED])
def test_errors_of_either_form_are_read_from_either_version(version: ApiVersion, body: bytes) -> None:
    outcome = DIALECTS[version].read_error(Endpoint.RETRIEVE, 404, ErrorBody(body, None), LimitReport())
    assert outcome == NotFound("Gone.", "resource_not_exists")


@pytest.mark.parametrize("version", DIALECTS)
@pytest.mark.parametrize(
    ("entry", "made_in"),
    [
        ({"model_name": "marengo3.5", "video_embedding": {}}, "v2"),
        ({"model_name": "marengo3.0", "audio_embedding": {}}, "v2"),
        ({"document_embedding": {}}, "v2"),
        ({"image_embedding": {}}, "v2"),
        ({"model_name": "marengo3.0", "video_embedding": {}}, None),
        ({"model_name": "marengo3.0", "audio_embedding": None, "video_embedding": {}}, None),
        ({"model_name": "Marengo-retrieval-2.7", "video_embedding": {}}, None),
        ({}, None),
    ],
)
def test_an_entry_says_in_which_version_it_was_made_if_only_one_can(
    version: ApiVersion, entry: dict[str, object], made_in: ApiVersion | None
) -> None:
    listed = DIALECTS[version].read_entry({"_id": "x", "status": "ready", **entry})
    assert listed is not None
    assert listed.version == made_in
