"""Reads the `video` or `audio` object of a request."""

from math import inf

from harvester.simulator.models import Medium, Model
from harvester.simulator.requests import (
    FIXED_AUDIO_S_30,
    MIN_CLIP_S_30,
    MIN_CLIP_S_35,
    MediaRequest,
    TimedText,
)
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.sources import MAX_BASE64_MB, MEBIBYTE, Source, read_source

_FIELDS = (
    "media_source",
    "start_sec",
    "end_sec",
    "segmentation",
    "embedding_option",
    "embedding_scope",
    "embedding_type",
    "time_based_metadata",
)
_SHORTEST_S, _LONGEST_DYNAMIC_S, _LONGEST_FIXED_S = 2, 5, 10


def read_timed(fields: Fields, medium: Medium, model: Model) -> MediaRequest:
    """Return the request for a video or audio; ApiProblem (400) names what is wrong."""
    fields.only(*_FIELDS)
    source = _source(fields, medium)
    options = fields.choices("embedding_option", model.media[medium], model.media[medium])
    scopes = ("clip", "local", "asset") if model.counts_tokens else ("clip", "asset")
    types = fields.choices("embedding_type", ("separate_embedding", "fused_embedding"), ("separate_embedding",))
    texts = _timed_texts(fields, model)
    if texts and "fused_embedding" not in types:
        raise fields.wrong("time_based_metadata", "It needs the embedding_type fused_embedding.")
    if "fused_embedding" in types:
        _check_fused(fields, model, medium, options, has_texts=bool(texts))
    clip_length_s, min_clip_s = _segmentation(fields, medium, model)
    return MediaRequest(
        medium=medium,
        model=model,
        options=options,
        scopes=fields.choices("embedding_scope", scopes, ("clip", "asset")),
        is_separate="separate_embedding" in types,
        is_fused="fused_embedding" in types,
        clip_length_s=clip_length_s,
        min_clip_s=min_clip_s,
        span_s=_span(fields),
        timed_texts=texts,
        url=source.url,
        filename=source.filename,
        content=source.content,
    )


def _source(fields: Fields, medium: Medium) -> Source:
    source = read_source(fields.inner("media_source"), medium)
    if source.size is not None and source.size > MAX_BASE64_MB * MEBIBYTE:
        raise fields.wrong("media_source.base64_string", f"The decoded {medium} must be at most {MAX_BASE64_MB} MB.")
    return source


def _check_fused(fields: Fields, model: Model, medium: Medium, options: tuple[str, ...], *, has_texts: bool) -> None:
    """Refuse a fused embedding of one modality: a model that has no second one for the medium fuses it with texts."""
    if len(options) < min(2, len(model.media[medium])):
        raise fields.wrong("embedding_type", "The value fused_embedding needs two values of embedding_option.")
    if model.counts_tokens and not has_texts:
        raise fields.wrong("time_based_metadata", f"The model {model.name} needs it for fused_embedding.")


def _timed_texts(fields: Fields, model: Model) -> tuple[TimedText, ...]:
    if "time_based_metadata" in fields and not model.counts_tokens:
        raise fields.wrong("time_based_metadata", f"The model {model.name} does not support it.")
    texts = []
    for entry in fields.objects("time_based_metadata"):
        entry.only("start", "end", "text")
        for name in ("start", "end", "text"):
            entry.require(name)
        start, end = entry.number("start") or 0.0, entry.number("end") or 0.0
        if end < start:
            raise entry.wrong("end", "The value must not be before start.")
        texts.append(TimedText(start, end, entry.text("text")))
    return tuple(texts)


def _span(fields: Fields) -> tuple[float, float] | None:
    start, end = fields.number("start_sec"), fields.number("end_sec")
    if end is not None and end <= (start or 0.0):
        raise fields.wrong("end_sec", "The value must be greater than start_sec.")
    if start is None and end is None:
        return None
    return start or 0.0, inf if end is None else end


def _segmentation(fields: Fields, medium: Medium, model: Model) -> tuple[float | None, float]:
    """Return the length of fixed clips (None for dynamic ones), and the shortest dynamic one, in seconds."""
    is_only_fixed = medium == "audio" and not model.counts_tokens
    shortest_s = MIN_CLIP_S_35 if model.counts_tokens else MIN_CLIP_S_30
    if "segmentation" not in fields:
        return (FIXED_AUDIO_S_30 if is_only_fixed else None), shortest_s
    inner = fields.inner("segmentation")
    if ("temporal" in inner) != model.counts_tokens:
        nested = "inside temporal" if model.counts_tokens else "without temporal"
        raise fields.wrong("segmentation", f"The model {model.name} takes the strategy {nested}.")
    if model.counts_tokens:
        inner.only("temporal")
        inner = inner.inner("temporal")
    inner.only("strategy", "dynamic", "fixed")
    strategy = inner.choice("strategy", ("fixed",) if is_only_fixed else ("dynamic", "fixed"))
    chosen = inner.inner(strategy)
    if strategy == "fixed":
        return _whole(chosen, "duration_sec", _LONGEST_FIXED_S), shortest_s
    return None, _whole(chosen, "min_duration_sec", _LONGEST_DYNAMIC_S)


def _whole(fields: Fields, name: str, most: int) -> float:
    fields.only(name)
    fields.require(name)
    return float(fields.whole(name, _SHORTEST_S, most) or _SHORTEST_S)
