from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "harvester.db"


@pytest.fixture
async def store(backend: Backend, place: Path) -> AsyncIterator[HarvestStore]:
    async with backend.open(place) as store:
        yield store


@pytest.fixture
async def other(backend: Backend, store: HarvestStore) -> AsyncIterator[HarvestStore]:
    """A second process's store in the same place."""
    async with backend.open(store.path) as other:
        yield other


@pytest.fixture
def stores(store: HarvestStore, other: HarvestStore) -> list[HarvestStore]:
    return [store, other]


@pytest.fixture
def editor(backend: Backend, place: Path) -> Iterator[QueueEditor]:
    with backend.edit(place) as editor:
        yield editor
