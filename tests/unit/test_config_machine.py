import pytest

from harvester.domain.errors import UsageError
from harvester.settings.machine import MIB, MachineLimits
from harvester.settings.machine_defaults import BASE_BYTES, WORKER_BYTES, excess, fitted, refuse_too_little, share_of
from harvester.settings.model import Settings, load_settings


def limits(mebibytes: int | None, processors: int = 8) -> MachineLimits:
    return MachineLimits(None if mebibytes is None else mebibytes * MIB, "memory.max", processors)


@pytest.mark.parametrize("mebibytes", range(96, 2048, 32))
def test_the_defaults_fit_every_limit(mebibytes: int) -> None:
    share = share_of(limits(mebibytes))

    assert BASE_BYTES + share.workers * WORKER_BYTES + share.memory_budget_bytes <= mebibytes * MIB
    assert share.concurrency >= 1


def test_a_large_machine_has_the_usual_defaults() -> None:
    usual = Settings().harvest
    for large in (limits(4096), limits(None)):
        share = share_of(large)
        assert (share.memory_budget_bytes, share.concurrency) == (usual.memory_budget_bytes, usual.concurrency)
        assert share.workers == large.processors


def test_a_small_machine_decodes_in_the_process_that_harvests() -> None:
    assert share_of(limits(128)).workers == 0


def test_what_a_user_has_set_is_left_alone() -> None:
    loaded = load_settings(environ={"HARVESTER_HARVEST__CONCURRENCY": "8"})

    small = fitted(loaded, limits(128))

    assert (small.settings.harvest.concurrency, small.origins["harvest.concurrency"]) == (
        8,
        "HARVESTER_HARVEST__CONCURRENCY",
    )
    assert small.settings.harvest.memory_budget_bytes < loaded.settings.harvest.memory_budget_bytes
    assert small.origins["harvest.memory_budget_bytes"] == "default for 128 MiB of memory"


def test_settings_that_exceed_the_limit_are_named() -> None:
    loaded = load_settings(environ={"HARVESTER_HARVEST__MEMORY_BUDGET_BYTES": str(256 * MIB)})

    assert "harvest.memory_budget_bytes = 268435456" in str(excess(fitted(loaded, limits(128)).settings, limits(128)))
    assert excess(fitted(load_settings(environ={}), limits(128)).settings, limits(128)) is None


def test_too_little_is_refused_with_what_is_needed() -> None:
    with pytest.raises(UsageError, match=r"needs 96 MiB of memory, and memory.max allows 64 MiB"):
        refuse_too_little(limits(64))
    refuse_too_little(limits(96))
