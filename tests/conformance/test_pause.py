"""A pause holds for all processes on the store, until it is ended or its time is over."""

from pathlib import Path

from harvester.domain.limits.pause import Pause
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW

HOUR_MS = 3_600_000


async def test_every_process_sees_a_pause_until_it_is_ended(
    backend: Backend, stores: list[HarvestStore], editor: QueueEditor, place: Path
) -> None:
    assert [await store.pause(NOW) for store in stores] == [None, None]

    assert editor.pause(NOW, None) == Pause(NOW)

    assert [await store.pause(NOW + 24 * HOUR_MS) for store in stores] == [Pause(NOW)] * 2
    with backend.reader(place).insights() as insights:
        assert insights.status(NOW).pause == insights.pause(NOW) == Pause(NOW)
    async with backend.open(place) as later:
        assert await later.pause(NOW) == Pause(NOW)
    assert editor.resume(NOW + 1) == Pause(NOW)
    assert [await store.pause(NOW + 1) for store in stores] == [None, None]
    assert editor.resume(NOW + 2) is None


async def test_a_pause_ends_by_itself(backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path) -> None:
    paused = editor.pause(NOW, NOW + HOUR_MS)

    assert await store.pause(NOW + HOUR_MS - 1) == paused == Pause(NOW, NOW + HOUR_MS)
    assert await store.pause(NOW + HOUR_MS) is None
    with backend.reader(place).insights() as insights:
        assert insights.status(NOW + HOUR_MS).pause is None
    assert editor.resume(NOW + HOUR_MS) is None


def test_a_pause_that_lasts_keeps_its_beginning_and_one_that_is_over_does_not(editor: QueueEditor) -> None:
    editor.pause(NOW, NOW + HOUR_MS)

    assert editor.pause(NOW + 1, NOW + 2 * HOUR_MS) == Pause(NOW, NOW + 2 * HOUR_MS)
    assert editor.pause(NOW + 2, None) == Pause(NOW)
    assert editor.pause(NOW + 3, NOW + 4) == Pause(NOW, NOW + 4)
    assert editor.pause(NOW + 5, None) == Pause(NOW + 5)
