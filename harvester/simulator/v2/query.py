"""Answers `POST /embed-v2`: the vector of a query, at once.

A text is near the clips that show one of its topics, and so is a medium whose URL names one.
"""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from harvester.simulator.metadata import v2_metadata
from harvester.simulator.models import Model
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.tasks import draw_task
from harvester.simulator.topics import near_topics, topics_in
from harvester.simulator.v2 import documents
from harvester.simulator.v2.create import read_dimension, read_model, read_uncertainty
from harvester.simulator.v2.fields import Fields
from harvester.simulator.v2.query_fields import Query, check_uncertainty, read_query
from harvester.simulator.v2.timed_fields import read_timed
from harvester.simulator.vectors import directions, embeddings_of, uncertain

_INPUT_TYPES = ("text", "image", "text_image", "audio", "video", "multi_input")
_MAX_TIMED_S = 600.0
_IMAGE_TOKENS = 256
_NO_ID = "0" * 24
_PLACES = {"embedding_option": None, "embedding_scope": None, "start_sec": None, "end_sec": None}


def answer_query(body: bytes, settings: SimulatorSettings) -> bytes:
    """Return the JSON answer; ApiProblem (400, 413) names what is wrong with the query."""
    fields = Fields.of_body(body)
    fields.only(
        "model_name", "input_type", "auto_truncate", "embedding_dimension", "embedding_uncertainty", *_INPUT_TYPES
    )
    model = read_model(fields)
    dimension, has_uncertainty = read_dimension(fields, model), read_uncertainty(fields, model)
    input_type = fields.choice("input_type", ("multi_input",) if model.counts_tokens else _INPUT_TYPES)
    inner = fields.inner(input_type)
    if input_type in {"audio", "video"}:
        return _timed_answer(inner, input_type, model, settings)
    query = read_query(fields, inner, input_type, model)
    if has_uncertainty:
        check_uncertainty(fields, query)
    return _answer(query, model, dimension, has_uncertainty=has_uncertainty)


def _answer(query: Query, model: Model, dimension: int, *, has_uncertainty: bool) -> bytes:
    names = [source.url or source.filename or source.content for _, source in query.sources]
    shown = topics_in(" ".join([query.text, *(source.url for _, source in query.sources)]))
    digest = hashlib.blake2b("\n".join([model.name, query.text, *names]).encode(), digest_size=16).digest()
    draw = np.random.default_rng(int.from_bytes(digest))
    vector = near_topics(model, [shown], directions(draw, 1, model.dim))[0, :dimension].astype(np.float32)
    entry: dict[str, Any] = {"embedding": vector}
    if has_uncertainty:
        entry["embedding_uncertainty"] = uncertain(draw, 1, model.dim)[0, :dimension].astype(np.float32)
    document: dict[str, Any] = {"data": [entry | _PLACES]}
    if model.counts_tokens:
        document |= {
            "usage": _usage(query),
            "metadata": {"input_type": "multi_input", "embedding_dimension": dimension},
        }
    elif query.input_type != "text":  # which the documentation gives no metadata, and the SDK could not read it
        url = "" if query.input_type == "multi_input" else query.sources[0][1].url
        document["metadata"] = {"input_type": query.input_type, **({"input_url": url} if url else {})}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _timed_answer(fields: Fields, medium: str, model: Model, settings: SimulatorSettings) -> bytes:
    """Answer with the embeddings of a whole video or audio, as a task would have them."""
    request = read_timed(fields, "audio" if medium == "audio" else "video", model)
    task = draw_task(settings, _NO_ID, request, 0)
    task = replace(task, duration_s=min(task.duration_s, _MAX_TIMED_S))
    document = {"data": documents.data(embeddings_of(settings.seed, task)), "metadata": v2_metadata(task)}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _usage(query: Query) -> dict[str, Any]:
    tokens: dict[str, int] = {}
    if query.text:
        tokens["text"] = len(query.text.split())
    for medium, _ in query.sources:
        tokens[medium] = tokens.get(medium, 0) + _IMAGE_TOKENS
    usage: dict[str, Any] = {"input_tokens": tokens, "truncated": query.is_truncated}
    return usage | {"truncation_reason": "model_context_window"} if query.is_truncated else usage
