"""A program reads the results of any store through `Dataset`, as one matrix with its columns."""

import numpy as np
import pytest

from harvester.dataset.async_dataset import AsyncDataset
from harvester.dataset.dataset import Dataset
from harvester.domain.errors import MixedModelsError, UsageError
from harvester.ports.stored_results import StoredResults
from tests.conformance.test_stored_results import AGAIN, MATCH, MATCH_RESULT, PAGE, SONG, SONG_RESULT
from tests.conformance.test_stored_results import results as results  # noqa: PLC0414  # a fixture


@pytest.fixture
def data(results: StoredResults) -> Dataset:
    return Dataset(results, "the store")


def test_vectors_of_one_model_are_one_matrix_with_columns(data: Dataset) -> None:
    table = data.vectors(model="marengo3.0")

    expected = np.concatenate([np.asarray(one.vectors, np.float32) for one in (MATCH_RESULT, SONG_RESULT)])
    np.testing.assert_array_equal(table.matrix, expected)
    assert table.matrix.dtype == np.float32
    assert table.matrix.flags.c_contiguous
    assert table.ids.tolist() == [f"{MATCH}:0", f"{MATCH}:1", f"{MATCH}:2", f"{SONG}:0", f"{SONG}:1"]
    assert table.input_types.tolist() == ["video"] * 3 + ["audio"] * 2


def test_batches_are_the_whole_in_pieces(data: Dataset) -> None:
    batches = list(data.iter_vectors(batch_rows=2, model="marengo3.0"))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    whole = np.concatenate([batch.matrix for batch in batches])
    np.testing.assert_array_equal(whole, data.vectors(model="marengo3.0").matrix)


def test_models_are_not_mixed_and_the_filter_to_use_is_named(data: Dataset) -> None:
    with pytest.raises(MixedModelsError, match=r'marengo3\.0.*marengo3\.5.*model="marengo3\.0"'):
        data.vectors()


def test_exact_numbers_are_those_that_the_api_sent(data: Dataset) -> None:
    table = data.vectors(task_id=PAGE, exact=True)

    assert table.matrix.tolist() == [[0.1, 1e300, *[0.5] * 6]]
    assert table.to_arrow()["vector"].to_pylist() == table.matrix.tolist()


def test_a_filter_that_matches_nothing_gives_no_rows_and_an_unknown_name_says_what_there_is(data: Dataset) -> None:
    assert len(data.vectors(task_id="unknown")) == 0
    with pytest.raises(UsageError, match=r"marengo3\.1.*There is 'marengo3\.0', 'marengo3\.5'"):
        data.vectors(model="marengo3.1")


def test_a_task_whose_name_a_newer_one_has_is_superseded(data: Dataset) -> None:
    assert [video.task_id for video in data.videos() if video.superseded] == [MATCH]
    assert [video.task_id for video in data.videos(latest=True, name="match*")] == [AGAIN]


async def test_a_program_on_asyncio_reads_the_same(data: Dataset) -> None:
    async with AsyncDataset(data) as reader:
        table = await reader.vectors(input_type="audio")
        segments = [segment.id async for segment in reader.segments(input_type="audio")]

    assert table.ids.tolist() == segments == [f"{SONG}:0", f"{SONG}:1"]
