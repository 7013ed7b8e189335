"""Reads the body of `POST /embed-v2/tasks`: what all media have in common."""

from dataclasses import replace

from harvester.simulator.models import MEDIA, V2_MODELS, Medium, Model
from harvester.simulator.requests import MediaRequest
from harvester.simulator.v2.document_fields import read_document
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.image_fields import read_image
from harvester.simulator.v2.timed_fields import read_timed


def read_media_request(body: bytes) -> MediaRequest:
    """Return the request, defaults filled in; ApiProblem (400) names what is wrong with it."""
    fields = Fields.of_body(body)
    fields.only("input_type", "model_name", "embedding_dimension", "embedding_uncertainty", *MEDIA)
    model = read_model(fields)
    chosen = fields.choice("input_type", MEDIA)
    medium = next(medium for medium in MEDIA if medium == chosen)
    if medium not in model.media:
        raise fields.wrong("input_type", f"The model {model.name} does not embed {medium} input.")
    dimension, has_uncertainty = read_dimension(fields, model), read_uncertainty(fields, model)
    request = _read_medium(fields.inner(medium), medium, model)
    if has_uncertainty:
        _check_uncertainty(fields, request)
    return replace(request, dimension=dimension, has_uncertainty=has_uncertainty)


def read_model(fields: Fields) -> Model:
    """Return the model; Marengo 2.7 and others cannot be used any more."""
    return V2_MODELS[fields.choice("model_name", V2_MODELS)]


def read_dimension(fields: Fields, model: Model) -> int:
    """Return the length of the vectors."""
    dimension = fields.whole("embedding_dimension")
    if dimension is None:
        return model.dim
    if not model.counts_tokens:
        raise fields.wrong("embedding_dimension", f"The model {model.name} does not support it.")
    if dimension not in model.dims:
        raise fields.wrong("embedding_dimension", f"The value must be one of {', '.join(map(str, model.dims))}.")
    return dimension


def read_uncertainty(fields: Fields, model: Model) -> bool:
    """Return whether uncertainties are requested."""
    is_requested = fields.flag("embedding_uncertainty")
    if is_requested and not model.counts_tokens:
        raise fields.wrong("embedding_uncertainty", f"The model {model.name} does not support it.")
    return is_requested


def _read_medium(fields: Fields, medium: Medium, model: Model) -> MediaRequest:
    if medium == "document":
        return read_document(fields, model)
    if medium == "image":
        return read_image(fields, model)
    return read_timed(fields, medium, model)


def _check_uncertainty(fields: Fields, request: MediaRequest) -> None:
    if request.medium == "document":
        if request.file_format == "pdf":
            raise fields.wrong("embedding_uncertainty", "PDF documents do not support it.")
        if request.scopes != ("local",):
            raise fields.wrong("embedding_uncertainty", "A text document needs the embedding_scope local.")
    elif request.medium != "image" and "asset" in request.scopes:
        raise fields.wrong("embedding_uncertainty", "The embedding_scope must not include asset.")
