"""Recognize what Amazon Bedrock writes: the `output.json` of StartAsyncInvoke, with names of fields of its own.

It has neither an id nor a model, a status, metadata or a time; `{"data": [{"embedding": […], "embeddingOption":
"visual", "embeddingScope": "clip", "startSec": 0.0, "endSec": 4.75}]}`. Marengo 2.7 gives no scope.
"""

from harvester.domain.tasks.embeddings import TaskEmbeddings

_FIELDS = frozenset({"embeddingOption", "embeddingScope", "startSec", "endSec"})


def is_of_bedrock(embeddings: TaskEmbeddings) -> bool:
    """Return whether a body came from Bedrock and not from the API."""
    return embeddings.received_id is None and any(not _FIELDS.isdisjoint(layout) for layout in embeddings.layouts)
