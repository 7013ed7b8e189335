"""Reads the `image` object of a request."""

from harvester.simulator.models import Model
from harvester.simulator.requests import MediaRequest
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.sources import MEBIBYTE, read_source

MAX_IMAGE_MB = 32


def read_image(fields: Fields, model: Model) -> MediaRequest:
    """Return the request for the one vector of an image; ApiProblem (400) for anything else."""
    fields.only("media_source", "embedding_option", "embedding_type", "embedding_scope")
    source = read_source(fields.inner("media_source"), "image")
    size_mb = (source.size or 0) / MEBIBYTE
    fields.choices("embedding_type", ("separate_embedding",), ())
    return MediaRequest(
        medium="image",
        model=model,
        options=fields.choices("embedding_option", model.media["image"], model.media["image"]),
        scopes=fields.choices("embedding_scope", ("asset",), ("asset",)),
        url=source.url,
        filename=source.filename,
        content=source.content,
        flaw=f"File size ({size_mb:.1f} MB) exceeds maximum limit of {MAX_IMAGE_MB} MB"
        if size_mb > MAX_IMAGE_MB
        else "",
    )
