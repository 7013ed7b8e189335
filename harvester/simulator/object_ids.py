"""Task ids like the API's: ObjectIds, which carry their creation time."""

import re

import numpy as np

_OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII | re.IGNORECASE)


def is_object_id(text: str) -> bool:
    """Whether `text` is 24 hex digits."""
    return _OBJECT_ID.fullmatch(text) is not None


class ObjectIdSequence:
    """Makes ids of four bytes of epoch seconds, five bytes drawn from the seed and a three-byte counter.

    The same seed and the same times give the same ids; no id comes twice within 2**24 of them.
    """

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([seed, _STREAM])
        self._machine = draw.bytes(5).hex()
        self._counter = int(draw.integers(2**24))

    def next(self, epoch: int) -> str:
        """Return a new id that says it was made at `epoch` seconds."""
        self._counter = (self._counter + 1) % 2**24
        return f"{epoch:08x}{self._machine}{self._counter:06x}"


# Keeps the ids' random numbers apart from other draws with the same seed.
_STREAM = int.from_bytes(b"ids")
