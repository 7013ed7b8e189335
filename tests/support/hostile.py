"""Foreign text that would act on a terminal, and the output that a terminal shows."""

import os
from contextlib import suppress

HOSTILE_NAME = "=1+1 \x1b[31m\x9bred\u202egpj.exe\u200b\r\n<script>alert(1)</script>.mp4"
HARMLESS_NAME = r"=1+1 \x1b[31m\x9bred\u202egpj.exe\u200b\r\n<script>alert(1)</script>.mp4"
ACTING = set("\x1b\x9b\u202e\u200b\r")
"""The characters of that text that act on a terminal."""


def everything_on(controller: int) -> str:
    """Read what a terminal shows until its last writer has left."""
    read = bytearray()
    with suppress(OSError):  # how the end of a terminal shows
        while block := os.read(controller, 65536):
            read += block
    return read.decode()
