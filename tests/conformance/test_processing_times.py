"""The processing times that one process has learned serve the others, and the next start."""

import pytest

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.ports.store import HarvestStore


async def share(store: HarvestStore, times: ProcessingTimes) -> None:
    times.load(await store.share_processing_times(times.take_fresh()))


def watched(model_name: str, takes_s: float, count: int = 50) -> ProcessingTimes:
    times = ProcessingTimes()
    for _ in range(count):
        times.observe(model_name, 60.0, takes_s / 2, takes_s, is_finished=True)
    return times


async def test_what_was_learned_outlives_a_restart(store: HarvestStore, other: HarvestStore) -> None:
    times, after = watched("marengo3.0", 1000.0), ProcessingTimes()
    await share(store, times)
    await share(other, after)
    assert after.of("marengo3.0", 60.0) == times.of("marengo3.0", 60.0) != ProcessingTimes().of("marengo3.0", 60.0)


async def test_two_processes_learn_from_each_other_and_count_nothing_twice(stores: list[HarvestStore]) -> None:
    one, another = watched("marengo3.0", 100.0), watched("marengo3.0", 5000.0)
    for times, store in ((one, 0), (another, 1), (one, 0), (another, 1), (one, 0)):
        await share(stores[store], times)
    assert one.all_seen == another.all_seen
    assert sum(one.all_seen["marengo3.0", 1].finished) == pytest.approx(100)
