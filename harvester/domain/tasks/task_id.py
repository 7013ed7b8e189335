"""Task ids: which are acceptable, and the creation time in an ObjectId.

Ids appear in URLs, logs and terminals, so only a small alphabet is acceptable. TwelveLabs ids are ObjectIds (24 hex
digits; the first four bytes are the creation time in Unix seconds). This is observed, not documented, so the time is a
hint, and `created_at` of the API overrides it.
"""

import re
from functools import lru_cache

from harvester.domain.errors import InvalidTaskId

MAX_LENGTH = 128
_ACCEPTABLE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
_CONTENT_ID = re.compile(r"file-[0-9a-f]{24}", re.ASCII)


def validate_task_id(task_id: str) -> str:
    """Return `task_id` unchanged. Raises InvalidTaskId if it is empty, too long, or has other characters."""
    if not task_id:
        raise InvalidTaskId("The task id is empty.", remedy="Give the id as the API returned it.")
    if len(task_id) > MAX_LENGTH:
        raise InvalidTaskId(
            f"The task id starting with {task_id[:24]!a} has {len(task_id)} characters; {MAX_LENGTH} is the most.",
            remedy="Give one id for each line.",
        )
    if not _ACCEPTABLE.fullmatch(task_id):
        raise InvalidTaskId(
            f"The task id {task_id!a} contains something other than letters, digits, '-' and '_'.",
            remedy="Give the id as the API returned it.",
        )
    return task_id


def content_task_id(sha256: str) -> str:
    """Return the id of an imported body that names none, by the SHA-256 (hexadecimal) of its content."""
    return f"file-{sha256[:24]}"


def is_content_id(task_id: str) -> bool:
    """Return whether an id is one of `content_task_id`: the API never knows it."""
    return _CONTENT_ID.fullmatch(task_id) is not None


def validate_api_task_id(task_id: str) -> str:
    """Return `task_id` unchanged. Raises InvalidTaskId as `validate_task_id` does, and for ids of imported bodies."""
    if is_content_id(task_id):
        raise InvalidTaskId(
            f"{task_id} is the id of an imported body, which the API does not know.",
            remedy="Import its file with `harvester import`.",
        )
    return validate_task_id(task_id)


@lru_cache(maxsize=4096)
def created_at_hint_ms(task_id: str) -> int | None:
    """Return the creation time inside an ObjectId, in Unix milliseconds; None for any other id."""
    if not _OBJECT_ID.fullmatch(task_id):
        return None
    return int(task_id[:8], 16) * 1000


def is_same_id(one: str, other: str) -> bool:
    """Return whether two ids name the same task: upper and lower case are the same."""
    return one.casefold() == other.casefold()
