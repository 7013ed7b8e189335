"""Lowers the defaults if the machine or its limits have less memory than the usual defaults take.

Measured with `memory.max_usage_in_bytes` of control groups, see docs/howto/operations.md.
"""

from dataclasses import dataclass, replace
from typing import Any

from harvester.domain.errors import UsageError
from harvester.settings.machine import MIB, MachineLimits
from harvester.settings.model import LoadedSettings, Settings

BASE_BYTES = 80 * MIB
"""Bytes of the process without any answer: the interpreter, libraries, SQLite's cache."""

WORKER_BYTES = 72 * MIB
"""Bytes of a process that decodes, without its answer."""

LEAST_BUDGET_BYTES = 16 * MIB
"""Bytes of the smallest budget: enough for the result of 20 minutes of video with its vectors."""

LEAST_BYTES = BASE_BYTES + LEAST_BUDGET_BYTES

_BYTES_EACH = 8 * MIB
"""Bytes of the budget for each request under way: with less the requests would only wait for each other."""


@dataclass(frozen=True, slots=True)
class Share:
    """The use of the memory: `workers` processes decode; with 0 this process decodes."""

    memory_budget_bytes: int
    concurrency: int
    workers: int


def share_of(limits: MachineLimits) -> Share:
    """Return the defaults under these limits: never more than the usual ones."""
    usual = Settings().harvest
    if limits.memory_bytes is None:
        return Share(usual.memory_budget_bytes, usual.concurrency, limits.processors)
    spare = max(0, limits.memory_bytes - BASE_BYTES)
    # Half for the workers, half for the answers; no worker is started that would leave less than its size for answers.
    workers = min(limits.processors, spare // 2 // WORKER_BYTES)
    budget = (spare - workers * WORKER_BYTES) // 2
    budget = min(usual.memory_budget_bytes, max(LEAST_BUDGET_BYTES, budget))
    return Share(budget, max(1, min(usual.concurrency, budget // _BYTES_EACH)), workers)


def fitted(loaded: LoadedSettings, limits: MachineLimits) -> LoadedSettings:
    """Return the settings, with defaults lowered to the memory that the limits leave."""
    share, harvest = share_of(limits), loaded.settings.harvest
    fitting: dict[str, Any] = {"memory_budget_bytes": share.memory_budget_bytes, "concurrency": share.concurrency}
    smaller = {
        key: value
        for key, value in fitting.items()
        if loaded.origins[f"harvest.{key}"] == "default" and value < getattr(harvest, key)
    }
    if not smaller:
        return loaded
    origin = f"default for {(limits.memory_bytes or 0) // MIB} MiB of memory"
    settings = loaded.settings.model_copy(update={"harvest": harvest.model_copy(update=smaller)})
    return replace(loaded, settings=settings, origins=loaded.origins | {f"harvest.{key}": origin for key in smaller})


def excess(settings: Settings, limits: MachineLimits) -> str | None:
    """Return a sentence about the excess if a harvest with these settings may exceed the limit; else None."""
    needed = BASE_BYTES + share_of(limits).workers * WORKER_BYTES + settings.harvest.memory_budget_bytes
    if limits.memory_bytes is None or needed <= limits.memory_bytes:
        return None
    return (
        f"harvest.memory_budget_bytes = {settings.harvest.memory_budget_bytes} lets a harvest take up to "
        f"{needed // MIB} MiB, and {limits.memory_limit} allows {limits.memory_bytes // MIB} MiB."
    )


def refuse_too_little(limits: MachineLimits) -> None:
    """Raise UsageError if there is too little memory: the program would be killed, and a restart would not help."""
    if limits.memory_bytes is not None and limits.memory_bytes < LEAST_BYTES:
        raise UsageError(
            f"A harvest needs {LEAST_BYTES // MIB} MiB of memory, and {limits.memory_limit} allows "
            f"{limits.memory_bytes // MIB} MiB.",
            remedy="Raise that limit; 128 MiB are enough for videos of 20 minutes, 512 MiB for four hours.",
        )
