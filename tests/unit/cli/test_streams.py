import errno
import fcntl
import os
from collections.abc import Iterator

import pytest

from harvester.cli.streams import MAX_WAITING_BYTES, MessageStream

PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """The two ends of a small pipe; an end that a test closes it sets to -1."""
    ends = list(os.pipe())
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def test_what_the_encoding_lacks_is_escaped(pipe: list[int]) -> None:
    stream = MessageStream(pipe[1], "latin-1")
    stream.write("é \u6771\n")

    assert os.read(pipe[0], 100) == b"\xe9 \\u6771\n"


def test_a_reader_that_goes_away_is_noted_and_raises_nothing(pipe: list[int]) -> None:
    stream, changes = MessageStream(pipe[1], "utf-8"), list[str | None]()
    stream.on_change = lambda: changes.append(stream.trouble)
    os.close(pipe[0])
    pipe[0] = -1

    stream.write("one\n")
    stream.write("two\n")

    assert changes == ["cannot be written: Broken pipe"]
    assert stream.take_lost() == 2


def test_after_a_full_disk_the_next_line_begins_a_line(pipe: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    stream, changes = MessageStream(pipe[1], "utf-8"), list[str | None]()
    stream.on_change = lambda: changes.append(stream.trouble)
    real, rest = os.write, [2]

    monkeypatch.setattr(os, "write", lambda descriptor, content: _short_write(real, rest, descriptor, content))
    stream.write("first\n")
    monkeypatch.setattr(os, "write", real)
    stream.write("second\n")

    assert os.read(pipe[0], 100) == b"fi\nsecond\n"
    assert changes == ["cannot be written: No space left on device", None]


def _short_write(real: object, rest: list[int], descriptor: int, content: bytes) -> int:
    assert callable(real)
    if rest[0] == 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    count, rest[0] = rest[0], 0
    return int(real(descriptor, bytes(content)[:count]))


def test_a_pipe_without_a_reader_holds_nothing_up_and_takes_bounded_memory(pipe: list[int]) -> None:
    stream = MessageStream(pipe[1], "utf-8")
    stream.write_in_background()
    line = "x" * 1023 + "\n"
    count = 2 * (MAX_WAITING_BYTES + PIPE_BYTES) // len(line)

    for _ in range(count):
        stream.write(line)

    assert stream.trouble == "it is not read"
    written = count - stream.lost
    assert written * len(line) <= MAX_WAITING_BYTES + 2 * PIPE_BYTES
    received = 0
    while received < written * len(line):
        received += len(os.read(pipe[0], 65536))
    stream.write("again\n")
    stream.finish()
    assert stream.trouble is None


def test_bytes_are_refused_as_every_stream_of_text_does(pipe: list[int]) -> None:
    with pytest.raises(TypeError):
        MessageStream(pipe[1], "utf-8").write(b"")  # type: ignore[arg-type]
