"""Requests to create a task: what a client asks for, in each version."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Literal

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.models import MARENGO_30, SCOPES, Medium, Model

FileFormat = Literal["pdf", "text", "markdown"]

EXTENSIONS: dict[Medium, str] = {"video": "mp4", "audio": "mp3", "document": "pdf", "image": "png"}
MIN_CLIP_S_30, MIN_CLIP_S_35 = 4.0, 2.0
FIXED_AUDIO_S_30 = 6.0


@dataclass(frozen=True, slots=True)
class TimedText:
    """Text of the client's own about a part of a video or audio; seconds."""

    start_s: float
    end_s: float
    text: str

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether it is about a part of that span; a text about a single moment is, too."""
        return self.start_s < end_s and max(self.end_s, self.start_s + 1e-6) > start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """What a client asks for, defaults filled in; lengths and times are seconds.

    `scopes` are those requested, under the names of its version. Video and audio are divided into clips of
    `clip_length_s`; `span_s` is the part of them to embed. `dimension` None is all that the model has. `flaw` is the
    message with which its tasks fail.
    """

    version: ClassVar[ApiVersion]
    model: Model
    options: tuple[str, ...]
    scopes: tuple[str, ...]
    medium: Medium = "video"
    clip_length_s: float | None = None
    span_s: tuple[float, float] | None = None
    dimension: int | None = None
    has_uncertainty: bool = False
    flaw: str = ""
    filename: str = ""
    url: str = ""

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return self.dimension or self.model.dim

    def content_of(self, task_id: str) -> int:
        """Return a number for what is embedded: with the seed, it decides length, topics and vectors."""
        return int(task_id, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest(EmbedRequest):
    """A request of version 1."""

    version = "v1"
    clip_length_s: float
    scopes: tuple[str, ...] = SCOPES


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRequest(EmbedRequest):
    """A request of version 2, with the scopes `clip`, `local` and `asset`; lengths and times are seconds.

    Without a length, clips are dynamic, of `min_clip_s` or more. A text document is divided into chunks of
    `max_sentences`, of which the next one repeats `overlap_sentences`. `content` names the medium where it has
    neither URL nor file name.
    """

    version = "v2"
    is_separate: bool = True
    is_fused: bool = False
    min_clip_s: float = MIN_CLIP_S_35
    timed_texts: tuple[TimedText, ...] = ()
    file_format: FileFormat = "pdf"
    has_quadrants: bool = False
    max_sentences: int | None = None
    overlap_sentences: int = 0
    content: str = ""

    def content_of(self, task_id: str) -> int:
        """Return a number for what is embedded: two tasks with the same input have the same vectors."""
        name = self.url or self.filename or self.content or task_id
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def default_request(  # noqa: PLR0913  # each is a choice of the client
    medium: Medium,
    model: Model,
    *,
    file_format: FileFormat = "pdf",
    filename: str = "",
    dimension: int | None = None,
    has_uncertainty: bool = False,
) -> MediaRequest:
    """Return the request that a client makes without options; uncertainty where it is possible.

    Without a file name, each of its tasks has content of its own.
    """
    is_timed, is_text = medium in {"video", "audio"}, file_format != "pdf"
    options = model.media[medium]
    if medium == "document":
        options = ("text",) if is_text else ("visual",)
    scopes: tuple[str, ...] = ("clip", "asset") if is_timed else ("asset",)
    if medium == "document" and not is_text:
        scopes = ("local",)
    has_uncertainty = has_uncertainty and model.counts_tokens and (is_timed or medium == "image")
    if has_uncertainty and is_timed:
        scopes = ("clip",)
    is_old = model is MARENGO_30
    return MediaRequest(
        medium=medium,
        model=model,
        options=options,
        scopes=scopes,
        clip_length_s=FIXED_AUDIO_S_30 if is_old and medium == "audio" else None,
        min_clip_s=MIN_CLIP_S_30 if is_old else MIN_CLIP_S_35,
        file_format=file_format,
        dimension=None if is_old else dimension,
        has_uncertainty=has_uncertainty,
        filename=filename,
    )
