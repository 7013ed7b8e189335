"""The harvest that `harvester backfill` runs: it ends when every task has ended, or when the time is up."""

import sys
from collections.abc import Callable

import anyio

from harvester.app.harvest import Harvest
from harvester.app.wiring import open_harvest
from harvester.cli.harvest_display import Summary, print_summary, show_progress
from harvester.domain.tasks.queue_reports import EVEN_DUE_MS
from harvester.service.deadline_monitor import assess_deadlines
from harvester.service.lifecycle import stopping_on_signals
from harvester.service.pause_watch import refuse_if_paused
from harvester.service.run_options import StopWhen
from harvester.settings.model import Settings

ALL_HARVESTED = "all_harvested"


class Job:
    """One backfill, from opening the database to its summary."""

    def __init__(self, settings: Settings, *, only: list[str] | None, no_wait: bool, limit_s: float | None) -> None:
        self._settings = settings
        self._only = only
        self._no_wait = no_wait
        self._limit_s = limit_s
        self._is_over_time = False
        self.summary: Summary | None = None
        self.end = ""
        """Why the harvest has ended, as a word for programs."""

    async def run(self, key: Callable[[], str]) -> int:
        """Harvest, show it, print the summary, and return the exit code. Raises HarvesterError, as PausedError."""
        until = StopWhen.ALL_ASKED if self._no_wait else StopWhen.ALL_DONE
        async with open_harvest(self._settings, key, until=until, only=self._only) as harvest:
            started_ms = harvest.clock.wall_ms()
            # Given ids are queued by now.
            await refuse_if_paused(harvest.store, started_ms)
            async with stopping_on_signals(lambda: self._drain(harvest)) as stop, anyio.create_task_group() as group:
                group.start_soon(show_progress, harvest.progress, harvest.clock, name="display")
                if self._limit_s is not None:
                    group.start_soon(self._stop_in_time, harvest, self._limit_s, name="deadline")
                await harvest.scheduler.run()
                group.cancel_scope.cancel()
            self.summary = await self._summary(harvest, started_ms, stop.description or harvest.unanswered)
            self.end = self._end(harvest, self.summary, is_stopped=stop.exit_code is not None)
            print_summary(self.summary)
        harvest.raise_if_refused()
        if stop.exit_code is not None:
            return stop.exit_code
        return 0 if self.end == ALL_HARVESTED else 1

    def _end(self, harvest: Harvest, summary: Summary, *, is_stopped: bool) -> str:
        reasons = {
            "key_refused": harvest.refusal is not None,
            "signal": is_stopped,
            "no_answer": bool(harvest.progress.open) and harvest.unanswered is not None,
            "time_is_up": bool(harvest.progress.open) and self._is_over_time,
            "tasks_open": bool(harvest.progress.open),
            "ended_otherwise": bool(summary.ends),
        }
        return next((reason for reason, holds in reasons.items() if holds), ALL_HARVESTED)

    async def _stop_in_time(self, harvest: Harvest, limit_s: float) -> None:
        await anyio.sleep(limit_s)
        self._is_over_time = True
        harvest.stop()

    def _drain(self, harvest: Harvest) -> None:
        harvest.stop()
        if harvest.progress.in_flight:
            grace_s = self._settings.harvest.grace_s
            note = (
                f"Finishing {harvest.progress.in_flight} under way, {grace_s:g} s at most; press again to stop at once."
            )
            # Over a live display this is printed above it.
            print(note, file=sys.stderr, flush=True)  # noqa: T201

    async def _summary(self, harvest: Harvest, started_ms: int, why: str | None) -> Summary:
        if self._is_over_time:
            why = why or "The time is up."
        elapsed_s = harvest.clock.monotonic() - harvest.progress.started
        # The clock may have been corrected since the start: ends before and after the correction both count.
        started_ms = min(started_ms, harvest.clock.wall_ms() - round(elapsed_s * 1000))
        return Summary(
            harvest.progress,
            # All of them, so that another run says the same and ends with the same code.
            await harvest.store.ends(0),
            elapsed_s,
            await assess_deadlines(harvest.store, harvest.throttle, harvest.clock.wall_ms()),
            why,
            await harvest.store.troubled(started_ms),
            # What another server has denied says nothing about the ids.
            {} if harvest.is_elsewhere else await harvest.store.held_by_reason(EVEN_DUE_MS),
            await harvest.store.model_gaps(),
            started_ms=started_ms,
            is_key_refused=harvest.refusal is not None,
        )
