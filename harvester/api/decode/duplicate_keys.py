"""Finds keys that an object of an answer gives twice: the parser keeps the last of them and says nothing.

Looking at every key while parsing would cost more than the parsing. But the text has one colon outside of strings for
each key, given twice or not: where the text has no more colons than the parsed object accounts for, no key was dropped.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from harvester.api.decode.body import EXCERPT_CHARACTERS, BodyError
from harvester.domain.tasks.embeddings import VECTOR_FIELDS
from harvester.domain.tasks.outcomes import Invalid

_ESCAPED_COLON = re.compile(rb"\\u003[aA]")


class _GivenTwiceError(ValueError):
    """The message is the key."""


def refuse_duplicate_keys(document: dict[str, Any], body: bytes) -> None:
    """Raise BodyError if an object in `body`, of which `document` was parsed, gives a key twice."""
    if _count(body, b":") == _colons(document) and not (b"\\" in body and _ESCAPED_COLON.search(body)):
        return
    key = _duplicate_key(body)
    if key is not None:
        shown = ascii(key[:EXCERPT_CHARACTERS])
        raise BodyError(Invalid(f"The answer gives the key {shown} twice in one object.", "duplicate_key"))


def _count(text: bytes, character: bytes) -> int:
    """Return how often there is a rare character: `bytes.count` looks at every single one, `find` does not."""
    count, at = 0, text.find(character)
    while at >= 0:
        count, at = count + 1, text.find(character, at + 1)
    return count


def _colons(document: dict[str, Any]) -> int:
    """Return how many colons the text of that object has: one for each key, and those in its texts.

    Vectors are not looked at. Texts in place of their numbers only lead to a closer look.
    """
    colons = 0
    waiting: list[Any] = [document]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict):
            colons += len(holder) + "".join(holder).count(":")
            for key, value in holder.items():
                kind = type(value)
                if kind is str:
                    colons += value.count(":")
                elif kind is dict or (kind is list and key not in VECTOR_FIELDS):
                    waiting.append(value)
        else:
            kinds = set(map(type, holder))
            if str in kinds:
                colons += sum(value.count(":") for value in holder if isinstance(value, str))
            if not kinds.isdisjoint((dict, list)):
                waiting += [value for value in holder if isinstance(value, dict | list)]
    return colons


def _duplicate_key(body: bytes) -> str | None:
    try:
        # The numbers stay texts: one of thousands of digits would be refused.
        json.loads(body, object_pairs_hook=_unique, parse_float=str, parse_int=str)
    except _GivenTwiceError as error:
        return str(error)
    except RecursionError:
        # Deeper than this can be looked at, in an answer whose colons do not add up.
        return "(deep inside)"
    return None


def _unique(pairs: Sequence[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _GivenTwiceError(key)
        seen.add(key)
