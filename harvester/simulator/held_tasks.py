"""Adds a task that another process describes: of any version, model, medium, age and fate."""

from harvester.simulator.catalogue import Catalogue
from harvester.simulator.models import MEDIA, V1_MODELS, V2_MODELS
from harvester.simulator.problems import ApiProblem
from harvester.simulator.requests import EmbedRequest, VideoRequest, default_request
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v2.fields import Fields

_FATE = ("age_s", "processing_s", "duration_s", "failure", "is_truncated")
_CLIP_S = 6.0
_OLDEST_S = 1e9


def hold_task(catalogue: Catalogue, body: bytes) -> SimulatedTask:
    """Add the task of a JSON object; ApiProblem (400) names what is wrong with it.

    The object has `api_version` and `model_name`, in version 2 `input_type`, and, if it likes, `filename`, `age_s`,
    `processing_s`, `duration_s`, `failure` (a message) and `is_truncated`.
    """
    fields = Fields.of_body(body)
    fields.only("api_version", "model_name", "input_type", "filename", *_FATE)
    request = _request(fields)
    return catalogue.hold(
        request,
        age_s=fields.number("age_s", most=_OLDEST_S) or 0.0,
        processing_s=fields.number("processing_s"),
        duration_s=fields.number("duration_s", least=2.0),
        failure=fields.text("failure") if "failure" in fields else None,
        is_truncated=fields.flag("is_truncated") if "is_truncated" in fields else None,
    )


def _request(fields: Fields) -> EmbedRequest:
    filename = fields.text("filename")
    if fields.choice("api_version", ("v1", "v2")) == "v1":
        model = V1_MODELS[fields.choice("model_name", V1_MODELS)]
        options = model.default_options
        return VideoRequest(model=model, options=options, clip_length_s=_CLIP_S, filename=filename or "held.mp4")
    model = V2_MODELS[fields.choice("model_name", V2_MODELS)]
    chosen = fields.choice("input_type", MEDIA)
    medium = next(medium for medium in MEDIA if medium == chosen)
    if medium not in model.media:
        raise ApiProblem(400, "parameter_invalid", f"The model {model.name} does not embed {medium} input.")
    return default_request(medium, model, filename=filename)
