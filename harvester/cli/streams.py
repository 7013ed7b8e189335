"""Replaces the standard streams, so that a missing, broken or full one, or another encoding, does not end the program.

stderr is for people: text that cannot be written there is dropped and counted, and the work continues. stdout is for
data: a failure to write there is an error, whose file name is STDOUT.
"""

import codecs
import errno
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

STDOUT = "standard output"

MAX_WAITING_BYTES = 256 * 1024
"""Bytes of text that wait for a reader of stderr; more is dropped. About a thousand lines of a log."""

LAST_WRITES_S = 2.0
"""Seconds for which the program, at its end, waits for a slow reader of stderr."""


class MessageStream(io.TextIOBase):
    """stderr. Writing never raises, and after `write_in_background` never waits either.

    `trouble` says why text is being lost, None while it is not; `lost` counts the lost pieces, mostly lines.
    `on_change` is called when `trouble` begins or ends, in the thread that writes.
    """

    encoding: str = "utf-8"
    errors: str = "backslashreplace"

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding
        self.trouble: str | None = None
        self.lost = 0
        self.on_change: Callable[[], None] = lambda: None
        self._descriptor = descriptor
        self._encoder = codecs.getincrementalencoder(encoding)(self.errors)
        self._is_terminal = os.isatty(descriptor)
        self._text: list[str] = []
        self._is_torn = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._writer: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take the text; it is written at the end of its line, or by `flush`."""
        if not isinstance(text, str):
            # Libraries try this to find out whether a stream takes bytes.
            raise TypeError(f"text is written here, not {type(text).__name__}")
        with self._lock:
            self._text.append(text)
            if "\n" in text:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Write the pending text, or queue it for the writing thread."""
        with self._lock:
            content = self._encoder.encode("".join(self._text))
            self._text.clear()
            if not content:
                return
            if self._writer is None:
                self._write_now(content)
            elif self._waiting_bytes + len(content) > MAX_WAITING_BYTES:
                self._lose("it is not read")
            else:
                self._waiting.append(content)
                self._waiting_bytes += len(content)
                self._changed.notify_all()

    def write_in_background(self) -> None:
        """Write in a thread from now on, so that a pipe that is not read does not block the program."""
        if self._writer is None:
            writer = threading.Thread(target=self._write_on, name="stderr", daemon=True)
            writer.start()
            self._writer = writer

    def take_lost(self) -> int:
        """Return how many pieces were lost since the last call."""
        with self._lock:
            lost, self.lost = self.lost, 0
        return lost

    def finish(self) -> None:
        """Wait at most `LAST_WRITES_S` for pending text to be written."""
        with suppress(Exception):
            self.flush()
        give_up_at = time.monotonic() + LAST_WRITES_S
        with self._changed:
            while self._waiting_bytes and time.monotonic() < give_up_at:
                self._changed.wait(LAST_WRITES_S / 20)

    def fileno(self) -> int:
        """Return the descriptor, by which libraries ask for the size of the terminal."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether stderr is a terminal."""
        return self._is_terminal

    def writable(self) -> bool:
        """Return True."""
        return True

    def _write_on(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                content = self._waiting.popleft()
            self._write_now(content)
            with self._changed:
                self._waiting_bytes -= len(content)
                self._changed.notify_all()

    def _write_now(self, content: bytes) -> None:
        # The rest of a line that was cut must not become the beginning of the next one.
        left = memoryview(b"\n" + content if self._is_torn else content)
        while left:
            try:
                count = os.write(self._descriptor, left)
            except BlockingIOError:
                _wait_until_writable(self._descriptor)
            except OSError as error:
                self._lose(f"cannot be written: {error.strerror}")
                return
            else:
                left = left[count:]
                self._is_torn = bool(left)
        with self._lock:
            if self.trouble is not None and self._waiting_bytes <= MAX_WAITING_BYTES // 2:
                self.trouble = None
                self.on_change()

    def _lose(self, why: str) -> None:
        with self._lock:
            self.lost += 1
            if self.trouble is None:
                self.trouble = why
                self.on_change()


class _DataStream(io.FileIO):
    """stdout below its buffer: its errors have the file name STDOUT."""

    is_reader_gone = False

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            _DataStream.is_reader_gone = error.errno == errno.EPIPE
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), STDOUT) from None


def prepare_streams() -> MessageStream:
    """Replace the standard streams by safe ones; return stderr."""
    for descriptor in (0, 1, 2):
        _fill(descriptor)
        if descriptor < 2:
            _make_blocking(descriptor)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    sys.stdout = _data_stream(sys.stdout)
    messages = MessageStream(2, _encoding(sys.stderr))
    sys.stderr = messages
    return messages


def is_reader_gone() -> bool:
    """Return whether stdout is a pipe whose reader has left."""
    return _DataStream.is_reader_gone


def silence_stdout() -> None:
    """Redirect stdout to the null device, so that the interpreter's last flush does not fail again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _data_stream(original: io.TextIOBase | Any) -> io.TextIOWrapper:
    try:
        raw: Any = io.BufferedWriter(_DataStream(1, "wb", closefd=False))
    except OSError:
        raw = io.BytesIO()
    is_direct = bool(getattr(original, "write_through", False))
    return io.TextIOWrapper(
        raw, _encoding(original), "backslashreplace", line_buffering=os.isatty(1), write_through=is_direct
    )


def _encoding(stream: Any) -> str:
    """Return the encoding of the environment if it can express any text, with escapes; else UTF-8."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        "\u6771".encode(encoding, "backslashreplace")
    except (LookupError, UnicodeError):
        return "utf-8"
    return str(encoding)


def _fill(descriptor: int) -> None:
    """Open a missing standard descriptor: else the database could get it, and messages would go into the file."""
    try:
        os.fstat(descriptor)
    except OSError:
        with suppress(OSError):
            # The system assigns the lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)


def _make_blocking(descriptor: int) -> None:
    # Another program may have set the pipe or terminal to non-blocking, in which a write fails instead of waiting.
    with suppress(OSError):
        os.set_blocking(descriptor, True)


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
