"""The tasks that exist from the start: how many of which version, medium and model, and when they were created."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle

from harvester.domain.errors import UsageError
from harvester.simulator.models import MODELS, Medium, Model
from harvester.simulator.requests import EXTENSIONS, EmbedRequest, MediaRequest, VideoRequest, default_request
from harvester.simulator.settings import SimulatorSettings

LONGEST_UPLOAD_S = 9.0

Maker = Callable[[str], EmbedRequest]
"""Makes a request from the name of the file, without its extension."""


def seeded_requests(settings: SimulatorSettings, now_ms: int) -> Iterator[tuple[EmbedRequest, int]]:
    """Yield each request and its creation time in Unix milliseconds, the oldest first; UsageError before 1970."""
    newest_ms = now_ms - round(settings.age_s * 1000)
    if newest_ms < (settings.spread_s + LONGEST_UPLOAD_S) * 1000:
        raise UsageError("The oldest task would have been created before 1970.", remedy="Lower its age.")
    step_ms = settings.spread_s * 1000 / max(settings.tasks - 1, 1)
    makers = _makers(settings)
    for number in range(settings.tasks):
        request = next(makers)(f"rehearsal-{number + 1:05d}")
        yield request, newest_ms - round(step_ms * (settings.tasks - 1 - number))


def _makers(settings: SimulatorSettings) -> Iterator[Maker]:
    """Return makers in turn: of version 1, of version 2 with each medium and model, or of both alternately."""
    first = cycle([_v1(settings)])
    if settings.api == "v1":
        return first
    second = cycle(
        [
            maker
            for medium in settings.media
            for model in map(MODELS.__getitem__, settings.models)
            if medium in model.media
            for maker in _v2(settings, medium, model)
        ]
    )
    return second if settings.api == "v2" else (maker for pair in zip(first, second) for maker in pair)  # noqa: B905


def _v1(settings: SimulatorSettings) -> Maker:
    return lambda name: VideoRequest(
        model=settings.model,
        options=settings.embedding_options,
        clip_length_s=settings.clip_length_s,
        filename=f"{name}.mp4",
    )


def _v2(settings: SimulatorSettings, medium: Medium, model: Model) -> list[Maker]:
    """Return a maker for each shape of result; documents have three."""
    if medium != "document":
        return [partial(_shaped, settings, medium, model)]
    return [partial(shape, settings, model) for shape in (_pages, _quadrants, _chunks)]


def _shaped(settings: SimulatorSettings, medium: Medium, model: Model, name: str) -> MediaRequest:
    request = default_request(
        medium,
        model,
        filename=f"{name}.{EXTENSIONS[medium]}",
        dimension=settings.dimension,
        has_uncertainty=settings.uncertainty,
    )
    return replace(request, is_fused=True) if settings.fused and len(request.options) > 1 else request


def _pages(settings: SimulatorSettings, model: Model, name: str) -> MediaRequest:
    return _shaped(settings, "document", model, name)


def _quadrants(settings: SimulatorSettings, model: Model, name: str) -> MediaRequest:
    return replace(_shaped(settings, "document", model, name), has_quadrants=True)


def _chunks(settings: SimulatorSettings, model: Model, name: str) -> MediaRequest:
    return replace(
        default_request("document", model, file_format="markdown", filename=f"{name}.md", dimension=settings.dimension),
        scopes=("local",),
        max_sentences=5,
        has_uncertainty=settings.uncertainty,
    )
