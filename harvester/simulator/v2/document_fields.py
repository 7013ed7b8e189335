"""Reads the `document` object of a request, and checks which combinations a kind of file allows."""

from dataclasses import dataclass
from itertools import product

from harvester.simulator.models import Model
from harvester.simulator.requests import FileFormat, MediaRequest
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.sources import read_source

_PDF_PAIRS = {("visual", "local"), ("visual", "asset"), ("text", "asset")}
_TEXT_PAIRS = {("text", "asset"), ("text", "local")}
_DEFAULTS = {True: (("visual",), ("local",)), False: (("text",), ("asset",))}


@dataclass(frozen=True, slots=True)
class _Segmentation:
    has_quadrants: bool = False
    max_sentences: int | None = None
    overlap_sentences: int = 0


def read_document(fields: Fields, model: Model) -> MediaRequest:
    """Return the request for a PDF, text or Markdown document; ApiProblem (400) names what is wrong."""
    fields.only("media_source", "segmentation", "embedding_option", "embedding_type", "embedding_scope")
    source = read_source(fields.inner("media_source"), "document")
    options, scopes = _pairs(fields, model, source.file_format)
    if "fused_embedding" in fields.choices("embedding_type", ("separate_embedding", "fused_embedding"), ()):
        raise fields.wrong("embedding_type", "Documents have a single modality: fused_embedding is not supported.")
    segmentation = _segmentation(fields, source.file_format, options, scopes)
    return MediaRequest(
        medium="document",
        model=model,
        options=options,
        scopes=scopes,
        file_format=source.file_format,
        has_quadrants=segmentation.has_quadrants,
        max_sentences=segmentation.max_sentences,
        overlap_sentences=segmentation.overlap_sentences,
        url=source.url,
        filename=source.filename,
        content=source.content,
    )


def _pairs(fields: Fields, model: Model, file_format: FileFormat) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return options and scopes, each of which goes with each of the other."""
    is_pdf = file_format == "pdf"
    default_options, default_scopes = _DEFAULTS[is_pdf]
    options = fields.choices("embedding_option", model.media["document"], default_options)
    scopes = fields.choices("embedding_scope", ("local", "asset"), default_scopes)
    for option, scope in product(options, scopes):
        if (option, scope) not in (_PDF_PAIRS if is_pdf else _TEXT_PAIRS):
            what = "PDF" if is_pdf else "text"
            raise fields.wrong("embedding_scope", f"A {what} document has no {option} embedding of the scope {scope}.")
    return options, scopes


def _segmentation(
    fields: Fields, file_format: FileFormat, options: tuple[str, ...], scopes: tuple[str, ...]
) -> _Segmentation:
    is_pdf = file_format == "pdf"
    if "segmentation" not in fields:
        if not is_pdf and "local" in scopes:
            raise fields.wrong("segmentation", "The scope local of a text document needs segmentation.sequential.")
        return _Segmentation()
    inner = fields.inner("segmentation")
    inner.only("spatial", "sequential")
    if ("spatial" in inner) == ("sequential" in inner):
        raise fields.wrong("segmentation", "Give spatial for a PDF document, or sequential for a text document.")
    if "spatial" in inner:
        if not is_pdf or "visual" not in options or "local" not in scopes:
            raise inner.wrong("spatial", "It needs a PDF document, the option visual and the scope local.")
        return _spatial(inner.inner("spatial"))
    if is_pdf or "local" not in scopes:
        raise inner.wrong("sequential", "It needs a text document and the scope local.")
    return _sequential(inner.inner("sequential"))


def _spatial(fields: Fields) -> _Segmentation:
    fields.only("strategy")
    strategy = fields.choice("strategy", ("standard", "quadrants")) if "strategy" in fields else "standard"
    return _Segmentation(has_quadrants=strategy == "quadrants")


def _sequential(fields: Fields) -> _Segmentation:
    fields.only("strategy", "max_sentences", "overlap_sentences")
    fields.choice("strategy", ("sentence",))
    fields.require("max_sentences")
    max_sentences = fields.whole("max_sentences", least=1)
    overlap = fields.whole("overlap_sentences") or 0
    if max_sentences is not None and overlap >= max_sentences:
        raise fields.wrong("overlap_sentences", "The value must be less than max_sentences.")
    return _Segmentation(max_sentences=max_sentences, overlap_sentences=overlap)
