"""Reads the form of `POST /embed/tasks` part by part; the video itself is received and discarded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web

from harvester.simulator.models import MARENGO_30, MAX_CLIP_S, MIN_CLIP_S, SCOPES, Model
from harvester.simulator.problems import ApiProblem, invalid_parameter
from harvester.simulator.requests import VideoRequest
from harvester.simulator.settings import SimulatorSettings

_DEFAULT_CLIP_S = 6.0
_DEFAULT_SCOPES = ("clip",)
_MAX_FIELD_BYTES = 8192


@dataclass(slots=True)
class _Form:
    """The fields as received, and the name of the file."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    filename: str = ""

    def one(self, name: str) -> str:
        return self.fields.get(name, [""])[-1]


async def read_video_request(request: web.Request, settings: SimulatorSettings) -> VideoRequest:
    """Receive the upload and return its request; ApiProblem (400) names the wrong field."""
    form = await _receive(request)
    model = _model(form.one("model_name"))
    url = form.one("video_url")
    if url and not url.startswith(("http://", "https://")):
        raise invalid_parameter("video_url", "The value must be a publicly accessible URL.")
    if not url and not form.filename:
        raise invalid_parameter("video_file", "Give either a video_file or a video_url.")
    clip_length_s = _clip_length(form.one("video_clip_length"))
    return VideoRequest(
        model=model,
        options=settings.options_for(model),
        clip_length_s=clip_length_s,
        scopes=_scopes(form.fields.get("video_embedding_scope", [])),
        span_s=_span(form.one("video_start_offset_sec"), form.one("video_end_offset_sec"), clip_length_s),
        filename=form.filename,
        url=url,
    )


async def _receive(request: web.Request) -> _Form:
    if request.content_type != "multipart/form-data":
        raise ApiProblem(400, "generic_error", "The request must be multipart/form-data.")
    form = _Form()
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader):
                await _receive_part(part, form)
    except ValueError as error:
        raise ApiProblem(400, "generic_error", f"The form cannot be read: {error}.") from error
    return form


async def _receive_part(part: BodyPartReader, form: _Form) -> None:
    if part.filename is not None:
        # A header's undecodable bytes arrive as surrogates, which JSON cannot carry.
        form.filename = part.filename.encode(errors="replace").decode()
        while await part.read_chunk(1 << 18):
            pass
        return
    value = bytearray()
    while chunk := await part.read_chunk(_MAX_FIELD_BYTES):
        value += chunk
        if len(value) > _MAX_FIELD_BYTES:
            raise invalid_parameter(part.name or "form", "The value is too long.")
    form.fields.setdefault(part.name or "", []).append(value.decode(errors="replace"))


def _model(name: str) -> Model:
    # Tasks of Marengo 2.7 still exist; new ones are refused.
    if name != MARENGO_30.name:
        raise invalid_parameter("model_name", f"The value must be {MARENGO_30.name}.")
    return MARENGO_30


def _clip_length(text: str) -> float:
    seconds = _DEFAULT_CLIP_S if not text else _seconds("video_clip_length", text)
    if not MIN_CLIP_S <= seconds <= MAX_CLIP_S:
        raise invalid_parameter("video_clip_length", f"The value must be between {MIN_CLIP_S:g} and {MAX_CLIP_S:g}.")
    return seconds


def _scopes(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if value not in SCOPES:
            raise invalid_parameter("video_embedding_scope", f"The value must be one of {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in values) or _DEFAULT_SCOPES


def _span(start: str, end: str, clip_length_s: float) -> tuple[float, float] | None:
    if not start and not end:
        return None
    if not start or not end:
        raise invalid_parameter("video_end_offset_sec", "Set both the start and the end offset, or neither.")
    start_s = _seconds("video_start_offset_sec", start)
    end_s = _seconds("video_end_offset_sec", end)
    if end_s < start_s + clip_length_s:
        raise invalid_parameter("video_end_offset_sec", "The value must leave room for one clip.")
    return start_s, end_s


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise invalid_parameter(name, "The value must be a number of seconds.")
    return seconds
