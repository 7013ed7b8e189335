"""Why a task of version 2 fails: the documented messages."""

from dataclasses import dataclass

from harvester.simulator.models import MEDIA, Medium

EXPIRED = "The embedding result is no longer available and cannot be retrieved."
"""The message of a task past its retention, where it is not unknown; no failure."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One documented message, and the media that it can be about."""

    message: str
    media: tuple[Medium, ...] = MEDIA


FAILURES = {
    "unstable": Failure("The embedding service is temporarily unstable. Please try again later."),
    "platform": Failure("The embedding task failed. Please try again later."),
    "incomplete": Failure("The embedding task could not complete processing."),
    "source": Failure("failed to fetch or materialize source media"),
    "size": Failure("The media exceeds the maximum allowed size for embedding."),
    "context": Failure("Content exceeds the model's context window."),
    "pages": Failure("Document (17 pages) exceeds maximum limit of 6 pages", ("document",)),
    "bytes": Failure("File size (33.6 MB) exceeds maximum limit of 32 MB", ("image", "document")),
    "seconds": Failure("Duration (35.0 seconds) exceeds maximum limit of 30 seconds (0 minutes)", ("video", "audio")),
    "request": Failure("The embedding request was invalid."),
    "media": Failure("We could not process your media for embedding. Please verify the input file and try again."),
}


def messages_for(medium: Medium, names: tuple[str, ...]) -> list[str]:
    """Return the messages of `names` (all, if empty) that can be about `medium`; all of them if none can."""
    chosen = [FAILURES[name] for name in names or FAILURES]
    fitting = [failure.message for failure in chosen if medium in failure.media]
    return fitting or [failure.message for failure in chosen]
