"""The harvest for programs: `harvester.Harvester`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio

from harvester.app.harvest import Harvest
from harvester.app.stores import open_maintenance
from harvester.app.wiring import open_harvest
from harvester.domain.errors import HarvesterError, UsageError
from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_id import validate_task_id
from harvester.ports.log import logging_as_library
from harvester.service.pause_watch import refuse_if_paused
from harvester.service.run_options import StopWhen
from harvester.settings.api_key import ApiKey, resolve_api_key
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import Settings, load_settings


@dataclass(frozen=True, slots=True)
class HarvestSummary:
    """The tasks of a harvest at its end."""

    states: Mapping[str, str]
    """State by task id: `harvested`, `failed`, …, of open tasks `pending` or `ready`."""
    stopped: str | None
    """Why the harvest ended before its tasks did, as a sentence; None if it did not."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks are in each state."""
        return dict(Counter(map(str, self.states.values())))

    @property
    def is_complete(self) -> bool:
        """Whether every task is harvested."""
        return all(state == TaskState.HARVESTED for state in self.states.values())


class Harvester:
    """Harvests in the process and the event loop of a program: `async with Harvester() as h: await h.harvest(ids)`.

    `settings` has settings by their names, such as `{"store.path": "x.db"}`; the others come from the environment and
    the settings file, as for the commands, and the key from `TWELVELABS_API_KEY` or the file of `api.key_file`. It
    handles no signals and prints nothing: what happens goes to the logger `harvester` of `logging`. Answers are decoded
    in a thread.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._given = dict(settings or {})
        self._opened: tuple[Settings, ApiKey] | None = None
        self._running: set[_Run] = set()

    async def __aenter__(self) -> Self:
        """Read settings and key; neither database nor network is used. Raises UsageError."""
        limits = read_limits()
        refuse_too_little(limits)
        settings = fitted(load_settings(given=self._given), limits).settings
        self._opened = settings, resolve_api_key(settings, os.environ)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened = None
        for run in list(self._running):
            await run.drain()

    async def harvest(
        self, ids: str | Iterable[str] | None = None, *, wait: bool = True, deadline_s: float | None = None
    ) -> HarvestSummary:
        """Queue the ids, harvest them until each has ended, and return their states; without ids all open tasks.

        Without `wait` each task is asked about once, and those that are not ready stay open. After `deadline_s` seconds
        no new request begins. The same happens when the call is cancelled: requests under way have the grace time to
        finish, results are stored, and other tasks stay open for the next harvest; a second cancellation ends at once.

        Raises InvalidTaskId before anything is queued, PausedError, KeyRefusedError, StoreError, MachineError.
        """
        if self._opened is None:
            raise UsageError("The harvester is not open.", remedy="Use it in `async with harvester.Harvester() as h:`.")
        settings, key = self._opened
        only = _checked(ids)
        if only is None:
            # A misspelt path would otherwise look like an empty queue.
            open_maintenance(settings.store.path).check_exists()
        elif not only:
            return HarvestSummary({}, None)
        run = _Run(settings, key, only, StopWhen.ALL_DONE if wait else StopWhen.ALL_ASKED, deadline_s)
        self._running.add(run)
        try:
            return await run.result()
        finally:
            self._running.discard(run)


class _Run:
    """One harvest, in a task of its own: so a cancellation of the caller drains it."""

    def __init__(
        self, settings: Settings, key: ApiKey, only: list[str] | None, until: StopWhen, deadline_s: float | None
    ) -> None:
        self._settings = settings
        self._key = key
        self._only = only
        self._until = until
        self._deadline_s = deadline_s
        self._harvest: Harvest | None = None
        self._is_draining = False
        self._stopped: str | None = None
        self._task = asyncio.create_task(self._run(), name="harvester")

    async def result(self) -> HarvestSummary:
        """Wait for the end. Raises HarvesterError."""
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:
            await self.drain()
            raise
        try:
            return self._task.result()
        except ExceptionGroup as group:
            raise _first(group) from group

    async def drain(self) -> None:
        """Begin no new request, and wait for those under way. A cancellation during this ends them at once."""
        self._stop("It was cancelled.")
        # anyio cancels again and again what it has cancelled; only another cancellation by asyncio comes through.
        with anyio.CancelScope(shield=True):
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError:
                self._task.cancel()
                await asyncio.wait([self._task])
                raise
        if not self._task.cancelled():
            # An error that nothing reads would be logged as lost; the cancellation is what the caller sees.
            self._task.exception()

    async def _run(self) -> HarvestSummary:
        settings, only = self._settings, self._only
        with logging_as_library():
            async with open_harvest(
                settings, self._key.reveal, until=self._until, only=only, is_guest=True
            ) as self._harvest:
                harvest, started_ms = self._harvest, self._harvest.clock.wall_ms()
                await refuse_if_paused(harvest.store, started_ms)
                if self._is_draining:
                    harvest.stop()
                async with anyio.create_task_group() as group:
                    if self._deadline_s is not None:
                        group.start_soon(self._stop_in_time, self._deadline_s, name="deadline")
                    await harvest.scheduler.run()
                    group.cancel_scope.cancel()
                states = await harvest.store.states(0 if only is not None else started_ms)
            harvest.raise_if_refused()
        return HarvestSummary(states, self._stopped or harvest.unanswered)

    async def _stop_in_time(self, deadline_s: float) -> None:
        await anyio.sleep(deadline_s)
        self._stop("The time is up.")

    def _stop(self, why: str) -> None:
        self._is_draining = True
        self._stopped = self._stopped or why
        if self._harvest is not None:
            self._harvest.stop()


def _checked(ids: str | Iterable[str] | None) -> list[str] | None:
    if ids is None:
        return None
    return list(dict.fromkeys(validate_task_id(one) for one in ([ids] if isinstance(ids, str) else ids)))


def _first(error: Exception) -> Exception:
    """Return the error of this program in a group of errors, else its first one."""
    leaves = list(_leaves(error))
    return next((one for one in leaves if isinstance(one, HarvesterError)), leaves[0])


def _leaves(error: Exception) -> Iterable[Exception]:
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
