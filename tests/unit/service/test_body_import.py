"""What an import does with each file, with a decoder and a store that misbehave."""

import os
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from harvester.domain.errors import StoreBusyError
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.outcomes import Outcome, Retrieved, Transient
from harvester.ports.spooled_body import SpooledBody
from harvester.service.body_import import BUSY_TRIES, BodyImporter, ImportListener
from harvester.service.body_reading import BodyFile, UnusableBodyError, read_body
from harvester.service.decode_pool import WORKER_DIED
from harvester.service.imported_bodies import ImportOptions
from harvester.throttle.memory_budget import MemoryBudget
from tests.support.store_builders import NOW, embeddings

MAX_BYTES = 1_000_000


class ScriptedDecoder:
    """Decodes every body to the same embeddings, after the outcomes that it is given."""

    workers = 1

    def __init__(self, *first: Outcome) -> None:
        self._first = list(first)
        self.sizes: list[int] = []

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        assert encoding is None
        self.sizes.append(len(body))
        return self._first.pop(0) if self._first else Retrieved(embeddings())


class ScriptedStore:
    """Accepts every result, after it was busy for so many times."""

    def __init__(self, busy: int = 0) -> None:
        self._busy = busy
        self.groups: list[list[str]] = []
        self.known: set[str] = set()

    async def import_results(self, results: Sequence[ImportedResult], now_ms: int) -> list[ImportOutcome]:
        assert now_ms == NOW
        if self._busy:
            self._busy -= 1
            raise StoreBusyError("It is locked.", reason="locked")
        self.groups.append([one.task_id for one in results])
        return [ImportOutcome.STORED for _ in results]

    async def harvested_among(self, task_ids: Sequence[str]) -> dict[str, int | None]:
        return dict.fromkeys(self.known & set(task_ids))


class Heard(ImportListener):
    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.results: dict[str, ImportOutcome] = {}
        self.ids: set[str] = set()

    def on_result(self, path: Path, task_id: str, outcome: ImportOutcome) -> None:
        self.results[path.name] = outcome
        self.ids.add(task_id)

    def on_problem(self, path: Path, problem: str) -> None:
        self.problems[path.name] = problem


def importer(
    store: ScriptedStore, decoder: ScriptedDecoder, *, budget_bytes: int = MAX_BYTES, replaces: bool = False
) -> BodyImporter:
    return BodyImporter(
        store=store,
        decoder=decoder,
        budget=MemoryBudget(budget_bytes),
        max_body_bytes=MAX_BYTES,
        options=ImportOptions(replaces=replaces),
        listener=Heard(),
        wall_ms=lambda: NOW,
    )


def heard(imported: BodyImporter) -> Heard:
    assert isinstance(imported.listener, Heard)
    return imported.listener


def files(folder: Path, count: int, size: int = 10) -> list[BodyFile]:
    paths = [folder / f"{number:03}.json" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%03d" % number + b" " * (size - 3))
    return [BodyFile(path) for path in paths]


async def test_a_body_whose_worker_died_is_read_and_decoded_once_more(tmp_path: Path) -> None:
    died = Transient("It died.", WORKER_DIED)
    once, twice = (
        importer(ScriptedStore(), ScriptedDecoder(died)),
        importer(ScriptedStore(), ScriptedDecoder(died, died)),
    )

    await once.run(files(tmp_path, 1))
    await twice.run(files(tmp_path, 1))

    assert heard(once).results == {"000.json": ImportOutcome.STORED}
    assert heard(twice).problems == {"000.json": "It died."}


async def test_a_busy_store_is_tried_again_and_one_that_stays_busy_ends_the_import(tmp_path: Path) -> None:
    patient, stuck = (importer(ScriptedStore(busy), ScriptedDecoder()) for busy in (BUSY_TRIES - 1, BUSY_TRIES))

    await patient.run(files(tmp_path, 1))
    with pytest.raises(ExceptionGroup) as raised:
        await stuck.run(files(tmp_path, 1))

    assert heard(patient).results == {"000.json": ImportOutcome.STORED}
    assert isinstance(raised.value.exceptions[0], StoreBusyError)


async def test_known_bodies_are_not_decoded_unless_they_replace_what_is_stored(tmp_path: Path) -> None:
    store, decoder = ScriptedStore(), ScriptedDecoder()
    await importer(store, decoder).run(files(tmp_path, 3))
    store.known = {task_id for group in store.groups for task_id in group}
    again, replacing = importer(store, decoder), importer(store, decoder, replaces=True)

    await again.run(files(tmp_path, 3))
    decoded = len(decoder.sizes)
    await replacing.run(files(tmp_path, 3))

    assert decoded == 3
    assert set(heard(again).results.values()) == {ImportOutcome.KNOWN}
    assert (again.progress.known, again.progress.done, again.progress.bytes_read) == (3, 3, 30)
    assert (len(decoder.sizes), replacing.progress.stored) == (6, 3)


async def test_after_a_stop_no_file_is_begun_and_those_under_way_are_stored(tmp_path: Path) -> None:
    begun = anyio.Event()

    class SlowDecoder(ScriptedDecoder):
        async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
            begun.set()
            await anyio.lowlevel.checkpoint()
            return await super().decode(body, encoding)

    store, decoder = ScriptedStore(), SlowDecoder()
    stopped = importer(store, decoder)
    async with anyio.create_task_group() as group:
        group.start_soon(stopped.run, files(tmp_path, 100))
        await begun.wait()
        stopped.stop()

    assert 0 < len(decoder.sizes) < 100
    assert stopped.progress.stored == len(decoder.sizes)


async def test_bodies_larger_than_the_budget_go_one_after_the_other(tmp_path: Path) -> None:
    imported = importer(ScriptedStore(), ScriptedDecoder(), budget_bytes=100)

    await imported.run(files(tmp_path, 8, size=300_000))

    assert imported.progress.stored == 8
    assert imported.budget.held_bytes == 0


async def test_results_that_wait_are_stored_in_one_transaction(tmp_path: Path) -> None:
    decoder = ScriptedDecoder()

    class SlowStore(ScriptedStore):
        async def import_results(self, results: Sequence[ImportedResult], now_ms: int) -> list[ImportOutcome]:
            while len(decoder.sizes) < 40:
                await anyio.lowlevel.checkpoint()
            return await super().import_results(results, now_ms)

    store = SlowStore()
    imported = importer(store, decoder)
    await imported.run(files(tmp_path, 40))

    assert sum(map(len, store.groups)) == len(heard(imported).ids) == 40
    assert len(store.groups) <= 3


@pytest.mark.parametrize("path", ["/proc/self/mem", "folder", "gone"])
def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(UnusableBodyError, match="It cannot be read"):
        read_body(tmp_path / path, MAX_BYTES)


def test_a_body_over_the_cap_is_refused_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 10 * MAX_BYTES)

    with pytest.raises(UnusableBodyError, match=rf"larger than api.max_body_bytes \({MAX_BYTES}\)"):
        read_body(path, MAX_BYTES)
