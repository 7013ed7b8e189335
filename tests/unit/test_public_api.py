"""The public API: its names, their types, and that importing them costs little."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

import harvester
from harvester.domain import errors


def test_the_public_names_are_those_that_are_there() -> None:
    there = {name for name, value in vars(harvester).items() if not isinstance(value, ModuleType)}
    there |= set(harvester._LOADED_WHEN_USED)

    assert set(harvester.__all__) == {name for name in there if not name.startswith("_")} | {"__version__"}
    assert len(set(harvester.__all__)) == len(harvester.__all__)


def test_the_whole_tree_of_errors_is_public() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    public = {name: getattr(harvester, name) for name in harvester.__all__}
    assert tree == {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Exception)}
    assert all(getattr(harvester, name) is getattr(errors, name) for name in tree)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, harvester; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    loaded = set(result.stdout.split())
    assert "harvester.domain.errors" in loaded
    assert loaded & {"aiohttp", "asyncio", "numpy", "pydantic", "sqlite3", "typer"} == set()


def test_a_program_sees_the_types() -> None:
    """Checked by mypy; at run time this only shows that the names exist."""
    assert_type(harvester.__version__, str)
    with pytest.raises(harvester.HarvesterError) as caught:
        raise harvester.UsageError("It is broken.", remedy="Mend it.")

    assert_type(caught.value, harvester.HarvesterError)
    assert_type(caught.value.sentence, str)
    assert_type(caught.value.remedy, str)
    assert assert_type(caught.value.exit_code, int) == 2


def test_a_reading_program_sees_the_types(tmp_path: Path) -> None:
    """Checked by mypy; at run time nothing is read, because there is no database."""

    def read() -> None:
        with harvester.open(tmp_path / "harvester.db") as data:
            assert_type(data, harvester.Dataset)
            table = data.vectors(model="marengo3.0", option=["visual"], label={"show": "x"}, since="7d", latest=True)
            assert_type(table, harvester.VectorTable)
            assert_type(table.matrix, NDArray[np.float32 | np.float64])
            assert_type(table.starts, NDArray[np.float64])
            assert_type(table.ids, NDArray[np.object_])
            assert_type(data.iter_vectors(batch_rows=5), Iterator[harvester.VectorTable])
            assert_type(data.segments(scope="clip"), Iterator[harvester.Segment])
            assert_type(data.videos()[0], harvester.StoredVideo)
            assert_type(data.videos()[0].input_filename, str | None)
            data.vectors(model=5)  # type: ignore[arg-type]  # an error of types, too
            data.vectors(modle="marengo3.0")  # type: ignore[call-arg]

    async def read_asynchronously() -> None:
        async with await harvester.aopen("harvester.db") as data:
            assert_type(data, harvester.AsyncDataset)
            assert_type(await data.vectors(exact=True), harvester.VectorTable)
            assert_type(data.iter_vectors(), AsyncIterator[harvester.VectorTable])
            assert_type(await data.videos(), list[harvester.StoredVideo])

    with pytest.raises(harvester.StoreError):
        read()
    assert callable(read_asynchronously)


def test_a_harvesting_program_sees_the_types() -> None:
    """Checked by mypy; at run time only the names are used."""

    async def harvest() -> None:
        async with harvester.Harvester({"store.path": "harvester.db", "harvest.concurrency": 4}) as h:
            assert_type(h, harvester.Harvester)
            summary = await h.harvest(["a"], wait=False, deadline_s=5)
            assert_type(summary, harvester.HarvestSummary)
            assert_type(summary.states, Mapping[str, str])
            assert_type(summary.counts, Mapping[str, int])
            assert_type(summary.stopped, str | None)
            await h.harvest(5)  # type: ignore[arg-type]  # an error of types, too
        harvester.Harvster()  # type: ignore[attr-defined]

    assert callable(harvest)


def test_a_name_that_is_not_public_is_not_there() -> None:
    assert not hasattr(harvester, "datasets")
    assert {"VectorTable", "open", "aopen"} <= set(dir(harvester))


def test_an_error_is_caught_by_what_it_is_about() -> None:
    def what(error: harvester.HarvesterError) -> harvester.UsageError | harvester.StoreError | None:
        try:
            raise error
        except (harvester.UsageError, harvester.StoreError) as known:
            return assert_type(known, harvester.UsageError | harvester.StoreError)
        except harvester.HarvesterError:
            return None

    for kind in (harvester.InvalidTaskId, harvester.MovedFileError, harvester.NewerSchemaError, harvester.NotOursError):
        assert isinstance(what(kind("It is broken.")), kind)
    assert what(harvester.KeyRefusedError("No.")) is None
    assert what(harvester.MachineError("No.")) is None
