"""Checks of an answer, before a decoder reads its body."""

from harvester.api.decode.body import GLANCE_BYTES, SMALL_BYTES, beginning_id, contains, contains_compressed
from harvester.ports.api import Body


def is_success(status: int | None) -> bool:
    """Return whether an HTTP status means success; None, for no answer, does not."""
    return status is not None and 200 <= status < 300


def names_another(body: Body, task_id: str) -> bool:
    """Return whether the beginning of the body names another task."""
    named = beginning_id(body.beginning(GLANCE_BYTES), body.encoding)
    return named is not None and named.lower() != task_id.lower()


def repeats(body: Body, key: bytes) -> bool:
    """Return whether the body contains the key."""
    if isinstance(body.data, bytes):
        return contains(body.data, body.encoding, key)
    return body.data.holds_secret or contains_compressed(
        body.data.beginning(SMALL_BYTES), body.size, body.encoding, key
    )
