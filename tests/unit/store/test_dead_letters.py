import gzip
import sqlite3
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks.outcomes import Empty, Failed, Invalid, NotFound, Outcome
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.store.sqlite import dead_letters
from harvester.store.sqlite.dead_letters import Payload, PayloadError, keepers, kept_payload, packed
from harvester.store.sqlite.migrations import load_migrations, migrate
from tests.unit.store.builders import NOW, add_tasks, claim, claim_new, object_id, row_counts, settle_all, settlement

WEEK_MS = 7 * DAY_MS


def unpacked(payload: Payload) -> bytes:
    return b"".join(payload.pieces())


def wrapped(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body)
    return zlib.compress(body) if encoding == "deflate" else body


@given(st.binary(max_size=2000), st.sampled_from([None, "gzip", "deflate"]), st.integers(1, 300))
def test_a_kept_body_gives_back_what_was_sent(body: bytes, encoding: str | None, piece: int) -> None:
    payload = packed(wrapped(body, encoding), encoding, NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "PIECE_BYTES", piece)
        pieces = list(payload.pieces())
    assert (b"".join(pieces), payload.is_cut) == (body, False)
    assert all(len(one) <= piece for one in pieces)


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_what_is_kept_is_gzip_whatever_came(encoding: str | None) -> None:
    inside = gzip.decompress(packed(wrapped(b"{}", encoding), encoding, NOW).body)
    assert (zlib.decompress(inside) if encoding == "deflate" else inside) == b"{}"


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_the_decoder_gets_the_body_as_it_came(encoding: str | None) -> None:
    body, told = packed(wrapped(b"{}", encoding), encoding, NOW).as_received()
    assert (zlib.decompress(body, zlib.MAX_WBITS | 32), told) == (b"{}", encoding or "gzip")


def test_all_members_of_a_gzip_are_given_back() -> None:
    body = b"".join(gzip.compress(part) for part in (b"one, ", b"", b"two")) + b"what follows is no gzip"
    assert unpacked(packed(body, "gzip", NOW)) == b"one, two"


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_a_body_over_the_cap_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch, encoding: str | None) -> None:
    monkeypatch.setattr(dead_letters, "MAX_PAYLOAD_BYTES", 30)
    body = bytes(range(100))
    payload, shown = packed(wrapped(body, encoding), encoding, NOW), list[bytes]()
    assert payload.is_cut
    if encoding is None:
        assert unpacked(payload) == body[:30]
        return
    with pytest.raises(PayloadError, match="ends in the middle"):
        shown.extend(payload.pieces())
    assert body.startswith(b"".join(shown))


def test_a_body_of_exactly_the_cap_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_PAYLOAD_BYTES", 10)
    assert [packed(b"x" * size, None, NOW).is_cut for size in (10, 11)] == [False, True]


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"x" * 99, mtime=0)[:-4]])
def test_a_damaged_body_is_an_error_of_its_own(body: bytes) -> None:
    with pytest.raises(PayloadError):
        unpacked(Payload(NOW, body))


def test_a_bomb_is_unpacked_in_bounded_memory() -> None:
    payload = packed(gzip.compress(bytes(64 << 20)), "gzip", NOW)
    tracemalloc.start()
    try:
        size = sum(map(len, payload.pieces()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (size, peak < 4 * dead_letters.PIECE_BYTES) == (64 << 20, True)


def test_a_stream_of_countless_members_ends() -> None:
    payload = packed(gzip.compress(b"x") * 5000, "gzip", NOW)
    assert len(unpacked(payload)) == dead_letters.MAX_MEMBERS


def test_what_could_not_be_stored_is_kept_when_the_task_ends(connection: sqlite3.Connection) -> None:
    outcome = Invalid("odd")
    for number in range(3):
        add_tasks(connection, object_id(0))
        (task,) = claim(connection, now_ms=NOW + number * DAY_MS)
        settle_all(connection, settlement(task, outcome, now_ms=NOW + number * DAY_MS, body=b'{"status":"ready"}'))
    (keeper,) = keepers(connection)
    payload = kept_payload(connection, keeper.key)
    assert (keeper.task_id, keeper.state, keeper.is_cut) == (object_id(0), TaskState.REJECTED, False)
    assert payload is not None
    assert (payload.received_at_ms, unpacked(payload)) == (NOW + 2 * DAY_MS, b'{"status":"ready"}')


def test_an_empty_result_past_the_deadline_is_kept_too(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, Empty(), now_ms=NOW + WEEK_MS, body=b"{}"))
    assert [keeper.state for keeper in keepers(connection)] == [TaskState.EXPIRED]


def test_other_ends_keep_no_body(connection: sqlite3.Connection) -> None:
    outcomes: list[Outcome] = [Failed("no"), NotFound("no")]
    tasks = [claim_new(connection, number) for number in range(2)]
    for task, outcome in zip(tasks, outcomes, strict=True):
        settle_all(connection, settlement(task, outcome, now_ms=NOW + WEEK_MS))
    assert (row_counts(connection)["payloads"], keepers(connection)) == (0, [])


def test_a_task_that_was_put_back_is_not_among_those_that_ended(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, Empty(), now_ms=NOW + WEEK_MS, body=b"{}"))
    connection.execute("UPDATE tasks SET state = 'pending'")
    assert keepers(connection) == []


def test_bodies_that_an_older_version_cut_without_a_word_are_recognised() -> None:
    known = load_migrations()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, [migration for migration in known if migration.version < 6])
    sizes = (16 * 1024 * 1024 - 1, 16 * 1024 * 1024)
    for number, size in enumerate(sizes):
        connection.execute("INSERT INTO tasks (id, task_id) VALUES (?, ?)", (number, object_id(number)))
        connection.execute("INSERT INTO payloads VALUES (?, 0, zeroblob(?))", (number, size))
    migrate(connection, known)
    assert connection.execute("SELECT is_cut, encoding FROM payloads ORDER BY task").fetchall() == [
        (0, None),
        (1, None),
    ]
    connection.close()
