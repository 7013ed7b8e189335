"""Imports files one after the other: a few are read and decoded at a time, and their results stored in groups.

A file that cannot be stored ends nothing. After `stop` no further file is begun; what is under way is stored.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.api.decode.body import beginning_id
from harvester.domain.errors import StoreBusyError
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.task_id import content_task_id
from harvester.ports.api import BodyDecoder
from harvester.ports.store import ResultImporter
from harvester.service.body_files import path_text
from harvester.service.body_reading import BodyFile, ReadBody, UnusableBodyError, read_body
from harvester.service.decode_pool import WORKER_DIED
from harvester.service.imported_bodies import DecodedFile, ImportOptions, result_to_store
from harvester.throttle.memory_budget import MemoryBudget, Reservation, share_bytes

GROUP_RESULTS = 64
GROUP_BYTES = 16 * 1024 * 1024
"""Results, and bytes of vectors: the most in one transaction, because a longer one would keep other writers waiting."""

BUSY_TRIES = 6
"""Attempts to store a group while another program writes; each waits a few seconds for it."""


@dataclass(slots=True)
class ImportProgress:
    """How far an import is. `total` and the counts are files; `bytes_read` are those of files, before decompression."""

    total: int = 0
    stored: int = 0
    known: int = 0
    bad: int = 0
    segments: int = 0
    bytes_read: int = 0

    @property
    def done(self) -> int:
        """The number of files that have been dealt with."""
        return self.stored + self.known + self.bad


class ImportListener:
    """Is called for each file: a base class whose methods do nothing."""

    def on_result(self, path: Path, task_id: str, outcome: ImportOutcome) -> None:
        """Note that the file's result is stored, or known already."""

    def on_problem(self, path: Path, problem: str) -> None:
        """Note that the file cannot be stored; `problem` is a sentence."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A result to store, and the memory that is reserved for it until then."""

    path: Path
    result: ImportedResult
    reservation: Reservation


@dataclass(slots=True)
class BodyImporter:
    """Imports bodies into a store."""

    store: ResultImporter
    decoder: BodyDecoder
    budget: MemoryBudget
    max_body_bytes: int
    options: ImportOptions
    listener: ImportListener
    wall_ms: Callable[[], int]
    progress: ImportProgress = field(default_factory=ImportProgress)
    _is_stopping: bool = False
    _stored_from: dict[str, Path] = field(default_factory=dict)
    """The file of each task that this run has stored."""

    def stop(self) -> None:
        """Begin no further file; those under way are stored."""
        self._is_stopping = True

    async def run(self, files: Iterable[BodyFile]) -> None:
        """Import the files in order. Raises StoreError; what is stored by then stays."""
        waiting = iter(files)
        send, receive = anyio.create_memory_object_stream[_Ready](GROUP_RESULTS)
        async with anyio.create_task_group() as group:
            group.start_soon(self._store_all, receive, name="store")
            async with send:
                for number in range(self.decoder.workers + 1):
                    group.start_soon(self._read_all, waiting, send.clone(), name=f"read {number}")

    async def _read_all(self, waiting: Iterator[BodyFile], ready: MemoryObjectSendStream[_Ready]) -> None:
        async with ready:
            while not self._is_stopping and (file := next(waiting, None)) is not None:
                reservation = self.budget.take()
                try:
                    result = await self._result(file, reservation)
                except UnusableBodyError as error:
                    self._note_problem(file.path, str(error))
                    result = None
                if result is None:
                    reservation.release()
                else:
                    await ready.send(_Ready(file.path, result, reservation))
                del result

    async def _result(self, file: BodyFile, reservation: Reservation) -> ImportedResult | None:
        """Return the result to store, None for one that is known. Raises UnusableBodyError."""
        if file.problem is not None:
            raise UnusableBodyError(file.problem)
        started, read_at_ms = time.monotonic(), self.wall_ms()
        body = file.body or await self._read(file.path, reservation)
        self.progress.bytes_read += body.file_bytes
        known_id = None if self.options.replaces else await self._known_id(body)
        if known_id is not None:
            self._note(file.path, known_id, ImportOutcome.KNOWN)
            return None
        outcome = await self.decoder.decode(body.content, None)
        if outcome.code == WORKER_DIED and file.body is None:
            # A Ctrl-C in the terminal ends a worker that has just started. Decoding has used up the content.
            body = await self._read(file.path, reservation)
            outcome = await self.decoder.decode(body.content, None)
        duration_ms = round((time.monotonic() - started) * 1000)
        decoded = DecodedFile(file.path, outcome, body.sha256, body.file_bytes, read_at_ms, duration_ms)
        return result_to_store(decoded, self.options)

    async def _read(self, path: Path, reservation: Reservation) -> ReadBody:
        await reservation.grow_to(share_bytes(_size(path)))
        body = await to_thread.run_sync(read_body, path, self.max_body_bytes)
        await reservation.grow_to(share_bytes(len(body.content)))
        return body

    async def _known_id(self, body: ReadBody) -> str | None:
        """Return the id of a body that is stored already, as far as that shows without decoding it.

        An id may be that of the content; under another id a file of the same length was imported before.
        """
        of_content = content_task_id(body.sha256)
        task_id = beginning_id(body.beginning, None) or self.options.task_id or of_content
        harvested = await self.store.harvested_among([task_id])
        is_same = task_id == of_content or harvested.get(task_id) == body.file_bytes
        return task_id if task_id in harvested and is_same else None

    async def _store_all(self, ready: MemoryObjectReceiveStream[_Ready]) -> None:
        async with ready:
            async for one in ready:
                group = _with_waiting([one], ready)
                results = [self._keeping_this_run(each.result) for each in group]
                outcomes = await self._store(results)
                for each, outcome in zip(group, outcomes, strict=True):
                    self._note_stored(each, outcome)
                    each.reservation.release()
                del one, group, results

    def _keeping_this_run(self, result: ImportedResult) -> ImportedResult:
        """Return the result, which replaces what was stored before this run, but not what the run itself has stored."""
        return replace(result, replaces=False) if result.task_id in self._stored_from else result

    async def _store(self, results: list[ImportedResult]) -> list[ImportOutcome]:
        """Store a group, and wait for other programs that write for long. Raises StoreError."""
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self.store.import_results(results, self.wall_ms())
            except StoreBusyError:
                continue
        return await self.store.import_results(results, self.wall_ms())

    def _note_stored(self, one: _Ready, outcome: ImportOutcome) -> None:
        if outcome is ImportOutcome.CLAIMED:
            problem = f"A running harvest works on the task {one.result.task_id}: import the file again after it."
            self._note_problem(one.path, problem)
            return
        if outcome is ImportOutcome.OTHER:
            self._note_problem(one.path, self._other_vectors(one.result.task_id))
            return
        if outcome is ImportOutcome.STORED:
            self._stored_from[one.result.task_id] = one.path
            self.progress.segments += one.result.embeddings.count
        self._note(one.path, one.result.task_id, outcome)

    def _other_vectors(self, task_id: str) -> str:
        first = self._stored_from.get(task_id)
        if first is None:
            return f"The task {task_id} is harvested with other vectors: add --replace to store these."
        return (
            f"Another file of this run has the same task {task_id} with other vectors, and is stored:"
            f" {path_text(first)}. To store this one instead, import it alone with --replace."
        )

    def _note(self, path: Path, task_id: str, outcome: ImportOutcome) -> None:
        if outcome is ImportOutcome.STORED:
            self.progress.stored += 1
        else:
            self.progress.known += 1
        self.listener.on_result(path, task_id, outcome)

    def _note_problem(self, path: Path, problem: str) -> None:
        self.progress.bad += 1
        self.listener.on_problem(path, problem)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UnusableBodyError(f"It cannot be read: {error.strerror or error}.") from error


def _with_waiting(group: list[_Ready], stream: MemoryObjectReceiveStream[_Ready]) -> list[_Ready]:
    size = sum(one.result.embeddings.number_bytes for one in group)
    while len(group) < GROUP_RESULTS and size < GROUP_BYTES:
        try:
            one = stream.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            break
        group.append(one)
        size += one.result.embeddings.number_bytes
    return group
