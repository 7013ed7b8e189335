"""Reads a query, and checks which combinations of text and media a model embeds."""

import re
from dataclasses import dataclass

from harvester.simulator.models import MEDIA, Medium, Model
from harvester.simulator.problems import ApiProblem
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.sources import MEBIBYTE, Source, read_source

_MAX_TOKENS = {False: 500, True: 2000}
_MAX_SOURCES = 10
MAX_SOURCE_MB = 32
_REFERENCE = re.compile(r"<@([^<>]+)>")


@dataclass(frozen=True, slots=True)
class Query:
    """What a query consists of: its text, and its media by type, in their order."""

    input_type: str
    text: str = ""
    sources: tuple[tuple[Medium, Source], ...] = ()
    is_truncated: bool = False


def read_query(fields: Fields, inner: Fields, input_type: str, model: Model) -> Query:
    """Return the query in the object of its input type; ApiProblem (400, 413) names what is wrong with it."""
    if input_type == "multi_input":
        return _multi_input(fields, inner, model)
    inner.only("input_text", "media_source")
    text, is_truncated = "", False
    if input_type != "image":
        inner.require("input_text")
        text, is_truncated = _text(fields, inner, model)
    sources: tuple[tuple[Medium, Source], ...] = ()
    if input_type != "text":
        sources = (("image", _bounded(inner.inner("media_source"), "image")),)
    return Query(input_type, text, sources, is_truncated)


def _multi_input(fields: Fields, inner: Fields, model: Model) -> Query:
    inner.only("input_text", "media_sources")
    text, is_truncated = _text(fields, inner, model)
    given = inner.objects("media_sources")
    if not text and not given:
        raise inner.wrong("input_text", "Give a text, media sources, or both.")
    if len(given) > _MAX_SOURCES:
        raise inner.wrong("media_sources", f"Give at most {_MAX_SOURCES} sources.")
    sources, names = [], set()
    for one in given:
        one.only("name", "media_type", "url", "base64_string", "asset_id")
        media = MEDIA if model.counts_tokens else ("image",)
        medium = next(medium for medium in MEDIA if medium == one.choice("media_type", media))
        sources.append((medium, _bounded(one, medium)))
        names.add(one.text("name"))
    for reference in _REFERENCE.findall(text):
        if reference not in names:
            raise inner.wrong("input_text", f"No media source has the name {reference}.")
    query = Query("multi_input", text, tuple(sources), is_truncated)
    _check_combination(inner, query)
    return query


def _text(fields: Fields, inner: Fields, model: Model) -> tuple[str, bool]:
    """Return the text of the query, and whether it was truncated; a word counts as a token."""
    text, most = inner.text("input_text"), _MAX_TOKENS[model.counts_tokens]
    if "auto_truncate" in fields and not model.counts_tokens:
        raise fields.wrong("auto_truncate", f"The model {model.name} does not support it.")
    words = text.split()
    if len(words) <= most:
        return text, False
    if not fields.flag("auto_truncate"):
        raise inner.wrong("input_text", f"The text has more than {most} tokens.")
    return " ".join(words[:most]), True


def _bounded(fields: Fields, medium: Medium) -> Source:
    source = read_source(fields, medium)
    if source.size is not None and source.size > MAX_SOURCE_MB * MEBIBYTE:
        size_mb = source.size / MEBIBYTE
        raise ApiProblem(
            413,
            "request_too_large",
            f"File size ({size_mb:.1f} MB) exceeds maximum limit of {MAX_SOURCE_MB} MB",
        )
    return source


def _check_combination(inner: Fields, query: Query) -> None:
    """Refuse the combinations that are documented not to work."""
    media = [medium for medium, _ in query.sources]
    formats = [source.file_format for medium, source in query.sources if medium == "document"]
    if "pdf" in formats and (len(media) > 1 or query.text):
        raise inner.wrong("media_sources", "A PDF document must be the only input.")
    if len(set(media)) > 1 and not query.text:
        raise inner.wrong("input_text", "Media sources of different types need a text.")
    if formats and len(formats) == len(media) and (query.text or len(media) > 1):
        raise inner.wrong("media_sources", "Texts alone cannot be combined.")


def check_uncertainty(fields: Fields, query: Query) -> None:
    """Refuse uncertainties where they are documented not to work."""
    media = [medium for medium, _ in query.sources]
    if (media and query.text) or "document" in media:
        raise fields.wrong("embedding_uncertainty", "It needs a text alone, or media without a document.")
