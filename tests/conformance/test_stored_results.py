"""Programs read the vectors that meet every condition, whatever is written meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.results.vectors import KnownValues, VectorBatch, VectorSpace
from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from harvester.ports.stored_results import StoredResults
from tests.conformance.actions import claim
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, embeddings_of, object_id, settlement

MATCH, SONG, AGAIN, PAGE = (object_id(number) for number in range(4))
OLD, NEW = VectorSpace("marengo3.0", 4), VectorSpace("marengo3.5", 4)
WIDE = VectorSpace(None, 8)
ALL = ResultFilter()


def numbers(count: int, dim: int = 4, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def result(vectors: Any, name: str | None, model: str | None, medium: str, **columns: Sequence[Any]) -> TaskEmbeddings:
    found = embeddings_of(vectors)
    named = replace(found.metadata, input_filename=name, model_name=model, input_type=medium)
    return replace(found, metadata=named, **columns)  # type: ignore[arg-type]  # columns are checked at run time


MATCH_RESULT = result(
    numbers(3),
    "match.mp4",
    "marengo3.0",
    "video",
    options=["visual", "audio", "visual"],
    scopes=["clip", "clip", "video"],
)
SONG_RESULT = result(numbers(2, seed=1), "song.mp3", "marengo3.0", "audio", options=["audio"] * 2)
AGAIN_RESULT = replace(
    result(numbers(1, seed=2), "match.mp4", "marengo3.5", "video", scopes=["asset"]),
    metadata=replace(
        result(numbers(1), "match.mp4", "marengo3.5", "video").metadata,
        created_at_ms=NOW + 5,
    ),
)
PAGE_RESULT = result(
    np.array([[0.1, 1e300, *[0.5] * 6]]),
    None,
    None,
    "text",
    starts=[None],
    ends=[None],
    start_pages=[2],
    end_pages=[3],
    quadrants=["top_left"],
    chunk_indexes=[7],
    options=[None],
    scopes=[None],
)


async def harvest(
    store: HarvestStore,
    editor: QueueEditor,
    task_id: str,
    found: TaskEmbeddings,
    *,
    at_ms: int = NOW,
    labels: dict[str, str] | None = None,
) -> None:
    editor.add([task_id], NOW, labels={task_id: labels} if labels else None)
    (task,) = await claim(store, now_ms=at_ms)
    assert await store.settle([settlement(task, Retrieved(found), now_ms=at_ms)]) == [True]


@pytest.fixture
async def results(backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path) -> StoredResults:
    """A video, a song, the video embedded again by another model, and a page of vectors that need float64."""
    await harvest(store, editor, MATCH, MATCH_RESULT, labels={"show": "news", "day": "1"})
    await harvest(store, editor, SONG, SONG_RESULT, at_ms=NOW + 1, labels={"show": "late"})
    await harvest(store, editor, AGAIN, AGAIN_RESULT, at_ms=NOW + 2, labels={"show": "news"})
    await harvest(store, editor, PAGE, PAGE_RESULT, at_ms=NOW + 3)
    return backend.results(place)


def rows(batches: Sequence[VectorBatch]) -> list[tuple[str, int]]:
    return [
        (batch.tasks[index].task_id, position)
        for batch in batches
        for index, position in zip(batch.task_index.tolist(), batch.positions.tolist(), strict=True)
    ]


def read(results: StoredResults, wanted: ResultFilter, space: VectorSpace, batch_rows: int = 100) -> list[VectorBatch]:
    return list(results.vectors(wanted, space, batch_rows=batch_rows))


EVERY = [(MATCH, 0), (MATCH, 1), (MATCH, 2), (SONG, 0), (SONG, 1), (AGAIN, 0), (PAGE, 0)]

FILTERS = [
    (ALL, EVERY),
    (ResultFilter(models=("marengo3.0", "marengo3.9")), EVERY[:5]),
    (ResultFilter(options=("audio",)), [(MATCH, 1), (SONG, 0), (SONG, 1)]),
    (ResultFilter(scopes=("clip",)), [(MATCH, 0), (MATCH, 1), (SONG, 0), (SONG, 1)]),
    (ResultFilter(scopes=("asset",)), [(MATCH, 2), (AGAIN, 0)]),
    (ResultFilter(scopes=("video",)), [(MATCH, 2), (AGAIN, 0)]),
    (ResultFilter(input_types=("audio", "text")), [(SONG, 0), (SONG, 1), (PAGE, 0)]),
    (ResultFilter(task_ids=(PAGE, SONG, SONG, "unknown")), [(SONG, 0), (SONG, 1), (PAGE, 0)]),
    (ResultFilter(task_ids=("unknown",)), []),
    (ResultFilter(labels={"show": "news"}), [(MATCH, 0), (MATCH, 1), (MATCH, 2), (AGAIN, 0)]),
    (ResultFilter(labels={"show": "news", "day": "1"}), EVERY[:3]),
    (ResultFilter(labels={"show": "new"}), []),
    (ResultFilter(name="mat*.mp4"), [(MATCH, 0), (MATCH, 1), (MATCH, 2), (AGAIN, 0)]),
    (ResultFilter(name="MATCH*"), []),
    (ResultFilter(since_ms=NOW + 1), EVERY[3:]),
    (ResultFilter(latest=True), EVERY[3:]),
    (ResultFilter(latest=True, models=("marengo3.0",)), EVERY[3:5]),
    (ResultFilter(task_ids=(MATCH, SONG), options=("visual",), scopes=("asset",)), [(MATCH, 2)]),
]


def test_each_way_of_reading_finds_what_meets_every_condition(results: StoredResults) -> None:
    # One test for all of them: filling a store takes longer than reading it.
    for wanted, expected in FILTERS:
        check_reading(results, wanted, expected)


def check_reading(results: StoredResults, wanted: ResultFilter, expected: list[tuple[str, int]]) -> None:
    counted = results.spaces(wanted)
    found = {space: rows(read(results, wanted, space)) for space, _ in counted}
    of_tasks = list(dict.fromkeys(task_id for task_id, _ in expected))

    assert {space: len(there) for space, there in found.items()} == dict(counted)
    assert sorted(chain(*found.values()), key=EVERY.index) == expected
    assert all(there == [row for row in expected if row in there] for there in found.values())
    assert [(one.task_id, one.position) for one in results.segments(wanted)] == expected
    assert [task.task_id for task in results.tasks(wanted)] == of_tasks
    assert [video.task_id for video in results.videos(wanted)] == of_tasks


def test_the_largest_space_comes_first(results: StoredResults) -> None:
    assert results.spaces(ALL) == [(OLD, 5), (WIDE, 1), (NEW, 1)]


def test_the_likely_space_counts_what_there_is_if_there_is_one_space_only(results: StoredResults) -> None:
    assert results.likely_space(ResultFilter(models=("marengo3.0",))) == (OLD, 5)
    assert results.likely_space(ResultFilter(task_ids=(SONG,))) == (OLD, 2)
    assert results.likely_space(ResultFilter(task_ids=(PAGE,))) == (WIDE, 1)
    assert results.likely_space(ALL) is None
    assert results.likely_space(ResultFilter(task_ids=("unknown",))) is None
    # It counts whole results only.
    assert results.likely_space(ResultFilter(models=("marengo3.0",), options=("audio",))) in {None, (OLD, 3)}


async def test_a_likely_space_is_not_believed_where_lengths_differ(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await harvest(store, editor, MATCH, MATCH_RESULT)
    await harvest(store, editor, SONG, result(numbers(2, dim=8), "song.mp3", "marengo3.0", "audio"), at_ms=NOW + 1)
    results = backend.results(place)

    likely = results.likely_space(ALL)
    assert likely is None or likely[1] > len(rows(read(results, ALL, likely[0])))


def test_a_space_that_is_not_there_has_no_vectors(results: StoredResults) -> None:
    assert read(results, ALL, VectorSpace("marengo3.0", 5)) == []
    assert read(results, ALL, VectorSpace(None, 4)) == []


def test_batches_are_full_and_each_names_its_tasks_once(results: StoredResults) -> None:
    for batch_rows in range(1, 7):
        check_batches(results, batch_rows)


def check_batches(results: StoredResults, batch_rows: int) -> None:
    batches = read(results, ALL, OLD, batch_rows)

    assert rows(batches) == EVERY[:5]
    assert [len(batch.positions) for batch in batches][:-1] == [batch_rows] * (len(batches) - 1)
    assert all(len({task.task_id for task in batch.tasks}) == len(batch.tasks) for batch in batches)
    assert all(set(batch.task_index.tolist()) == set(range(len(batch.tasks))) for batch in batches)
    assert np.array_equal(
        np.concatenate([batch.matrix for batch in batches]),
        np.concatenate([MATCH_RESULT.vectors, SONG_RESULT.vectors]),
    )


def test_the_columns_are_those_that_came(results: StoredResults) -> None:
    (batch,) = read(results, ResultFilter(task_ids=(MATCH,)), OLD)
    (task,) = batch.tasks

    assert (list(batch.options), list(batch.scopes)) == (MATCH_RESULT.options, MATCH_RESULT.scopes)
    assert (batch.starts.tolist(), batch.ends.tolist()) == ([0, 6, 12], [6, 12, 18])
    assert (batch.matrix.dtype.name, batch.matrix.flags.c_contiguous, batch.matrix.flags.writeable) == (
        *("float32", True, True),
    )
    assert (task.task_id, task.input_filename, task.harvested_at, task.duration) == (MATCH, "match.mp4", NOW, 18)
    assert (task.input_type, task.model_name, task.labels) == ("video", "marengo3.0", {"day": "1", "show": "news"})


def test_what_the_api_did_not_give_is_nothing_and_what_it_gave_for_pages_is_there(results: StoredResults) -> None:
    (batch,) = read(results, ALL, WIDE)

    assert np.isnan([batch.starts[0], batch.ends[0]]).all()
    assert [batch.options[0], batch.scopes[0], batch.tasks[0].input_filename] == [None] * 3
    assert (batch.start_pages[0], batch.end_pages[0], batch.quadrants[0], batch.chunk_indexes[0]) == (
        *(2, 3, "top_left", 7),
    )


def test_exact_numbers_are_those_that_the_api_sent(results: StoredResults) -> None:
    (wide,) = results.vectors(ALL, WIDE, batch_rows=9, exact=True)
    (narrow,) = results.vectors(ALL, OLD, batch_rows=9, exact=True)
    (rounded,) = read(results, ALL, WIDE)

    assert wide.matrix.tolist() == PAGE_RESULT.vectors.tolist()
    assert (narrow.matrix.dtype.name, rounded.matrix.dtype.name) == ("float64", "float32")
    assert narrow.matrix[0].tolist() == [float(str(number)) for number in MATCH_RESULT.vectors[0]]
    assert rounded.matrix[0, :2].tolist() == [float(np.float32(0.1)), np.inf]


async def test_a_batch_may_hold_vectors_of_both_widths(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await harvest(store, editor, MATCH, MATCH_RESULT)
    wide = numbers(2).astype(np.float64) + 1e-12
    await harvest(store, editor, SONG, result(wide, "song.mp3", "marengo3.0", "audio"))
    (batch,) = backend.results(place).vectors(ALL, OLD, batch_rows=9, exact=True)

    assert batch.matrix[3:].tolist() == wide.tolist()
    assert batch.matrix[:3].astype(np.float32).tolist() == MATCH_RESULT.vectors.tolist()


def test_a_record_has_what_its_vector_has(results: StoredResults) -> None:
    first, *_, page = results.segments(ALL)

    assert (first.id, first.embedding_option, first.embedding_scope) == (f"{MATCH}:0", "visual", "clip")
    assert (first.start_offset_sec, first.end_offset_sec, first.labels) == (0, 6, {"day": "1", "show": "news"})
    assert (first.model_name, first.input_type, first.input_filename) == ("marengo3.0", "video", "match.mp4")
    assert (page.start_offset_sec, page.start_page, page.quadrant, page.labels) == (None, 2, "top_left", {})


def test_a_video_says_what_is_known_of_it_and_whether_a_newer_task_has_its_name(results: StoredResults) -> None:
    match, song, again, page = results.videos(ALL)

    assert [video.superseded for video in (match, song, again, page)] == [True, False, False, False]
    assert (match.segments, match.options) == (3, {"audio": 1, "visual": 2})
    assert (match.input_filename, match.model_name, match.input_type) == ("match.mp4", "marengo3.0", "video")
    assert (match.duration, match.clip_length, match.created_at, match.harvested_at) == (18, 6, NOW, NOW)
    assert (song.labels, page.labels, page.options) == ({"show": "late"}, {}, {})


def test_a_task_is_superseded_by_one_that_the_filter_leaves_out(results: StoredResults) -> None:
    (match,) = results.videos(ResultFilter(task_ids=(MATCH,)))

    assert match.superseded


def test_the_values_that_filters_can_name_are_known(results: StoredResults) -> None:
    assert results.known_values() == KnownValues(
        models=["marengo3.0", "marengo3.5"],
        options=["audio", "visual"],
        scopes=["asset", "clip", "video"],
        input_types=["audio", "text", "video"],
    )


async def test_an_iteration_shows_what_was_there_when_it_began(
    results: StoredResults, store: HarvestStore, editor: QueueEditor
) -> None:
    ongoing = results.vectors(ALL, OLD, batch_rows=1)
    records = results.segments(ALL)
    first, record = next(ongoing), next(records)
    editor.forget([SONG], NOW, TaskFilter())
    await harvest(store, editor, object_id(9), SONG_RESULT, at_ms=NOW + 9)

    assert rows([first, *ongoing]) == EVERY[:5]
    assert [(one.task_id, one.position) for one in (record, *records)] == EVERY
    assert rows(read(results, ALL, OLD)) == [*EVERY[:3], (object_id(9), 0), (object_id(9), 1)]


def test_two_iterations_do_not_disturb_each_other(results: StoredResults) -> None:
    one = results.vectors(ResultFilter(task_ids=(MATCH,)), OLD, batch_rows=1)
    other = results.vectors(ResultFilter(task_ids=(SONG,)), OLD, batch_rows=1)

    assert rows([next(one), next(other), *one]) == [(MATCH, 0), (SONG, 0), (MATCH, 1), (MATCH, 2)]
    assert rows(list(other)) == [(SONG, 1)]


async def test_an_empty_store_has_nothing(backend: Backend, store: HarvestStore, place: Path) -> None:
    del store
    results = backend.results(place)

    assert (results.spaces(ALL), results.likely_space(ALL)) == ([], None)
    assert [*results.tasks(ALL), *results.segments(ALL), *results.videos(ALL)] == []
    assert results.known_values() == KnownValues([], [], [], [])


async def test_more_tasks_than_one_statement_reads_come_in_order_of_harvest(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    ids = [object_id(number) for number in range(1100)]
    editor.add(ids, NOW)
    vectors = numbers(len(ids))
    claimed = sorted(await claim(store, limit=len(ids)), key=lambda task: task.task_id)
    await store.settle(
        [
            settlement(task, Retrieved(embeddings_of(vectors[at : at + 1])), now_ms=NOW - at)
            for at, task in enumerate(claimed)
        ]
    )
    batches = read(backend.results(place), ALL, OLD, 400)

    assert rows(batches) == [(task_id, 0) for task_id in reversed(ids)]
    assert np.array_equal(np.concatenate([batch.matrix for batch in batches]), vectors[::-1])
