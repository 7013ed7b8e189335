"""`harvester compact`: gives unused space back, beside a running daemon."""

import time
from pathlib import Path
from typing import Annotated

import typer

from harvester.app.stores import open_maintenance
from harvester.cli.console import print_json, print_note
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.ports.maintenance import ATTEMPTS_KEPT_MS, Compacted, CompactionProgress, Compactness
from harvester.reports.formats import counted, shown_bytes, shown_duration
from harvester.settings.model import load_settings

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be given back, and the space needed.")]

TELL_EVERY_S = 5.0


def compact(*, dry_run: DryRun = False, json: AsJson = False, db: Database = None, config: ConfigFile = None) -> None:
    """Give unused space back.

    Removes kept bodies of harvested tasks and old attempts, rewrites the file without its free pages, and empties the
    write-ahead log. Readers go on; a running harvest waits to store until it is done. A kill leaves the file as it was.

    Example: harvester compact --dry-run
    """
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    store = open_maintenance(path)
    before_ms = time.time_ns() // 1_000_000 - ATTEMPTS_KEPT_MS
    found = store.measure_compactness(before_ms)
    if not json:
        _tell_found(found, path)
    if dry_run:
        if json:
            print_json(_as_json(path, found, None, 0.0))
        raise typer.Exit(0 if found.is_compact or found.has_room else 1)
    started = time.monotonic()
    done = store.compact(before_ms, _Progress(is_silent=json).tell)
    took_s = time.monotonic() - started
    if json:
        print_json(_as_json(path, found, done, took_s))
    elif not done.before.is_compact:
        _tell_done(done, path, took_s)


class _Progress:
    """Writes a line now and then to stderr."""

    def __init__(self, *, is_silent: bool) -> None:
        self._is_silent = is_silent
        self._next_s = TELL_EVERY_S

    def tell(self, progress: CompactionProgress) -> None:
        if self._is_silent or progress.elapsed_s < self._next_s:
            return
        self._next_s = progress.elapsed_s + TELL_EVERY_S
        share = f"{shown_bytes(progress.written_bytes)} of {shown_bytes(progress.total_bytes)}"
        stage = f"writing it back, {share}" if progress.written_bytes else "copying what is stored"
        _say(f"{shown_duration(progress.elapsed_s)}: {stage}")


def _tell_found(found: Compactness, path: Path) -> None:
    _say(
        f"{path} has {shown_bytes(found.database_bytes)}, {shown_bytes(found.free_inside_bytes)} of them free inside; "
        f"its write-ahead log has {shown_bytes(found.log_bytes)}."
    )
    if found.unneeded_bodies:
        bodies = "kept body" if found.unneeded_bodies == 1 else "kept bodies"
        size = shown_bytes(found.unneeded_body_bytes)
        _say(f"No longer needed: {found.unneeded_bodies} {bodies} of harvested tasks, {size}.")
    if found.old_attempts:
        _say(f"No longer needed: {counted(found.old_attempts, 'attempt')} older than 30 days.")
    if found.is_compact:
        _say("There is nothing to give back.")
        return
    free = "unknown" if found.volume_free_bytes is None else shown_bytes(found.volume_free_bytes)
    _say(f"Space needed meanwhile: {shown_bytes(found.needed_bytes)}; free on its volume: {free}.")
    if found.copy_free_bytes is not None:
        copy = f"{shown_bytes(found.copy_bytes)}; free there: {shown_bytes(found.copy_free_bytes)}"
        _say(f"Space needed in {found.copy_folder} for a copy: {copy}.")


def _tell_done(done: Compacted, path: Path, took_s: float) -> None:
    given_back = max(0, done.before.database_bytes - done.database_bytes)
    size = shown_bytes(done.database_bytes)
    _say(f"{path} has {size} now, {shown_bytes(given_back)} less, after {shown_duration(took_s)}.")
    if done.is_pinned:
        _say(
            f"Another program keeps a read transaction open: the file gets shorter, and its log of "
            f"{shown_bytes(done.log_bytes)} is cut, when that has ended and a harvest or `harvester compact` runs."
        )


def _as_json(path: Path, found: Compactness, done: Compacted | None, took_s: float) -> dict[str, object]:
    return {
        "path": str(path),
        "compact": found.is_compact,
        "database_bytes": found.database_bytes,
        "free_inside_bytes": found.free_inside_bytes,
        "log_bytes": found.log_bytes,
        "unneeded_bodies": found.unneeded_bodies,
        "unneeded_body_bytes": found.unneeded_body_bytes,
        "old_attempts": found.old_attempts,
        "needed_bytes": found.needed_bytes,
        "free_bytes": found.volume_free_bytes,
        "copy_folder": str(found.copy_folder),
        "copy_bytes": found.copy_bytes,
        "copy_free_bytes": found.copy_free_bytes,
        "enough_space": found.has_room,
        "after": None if done is None else _after(done, took_s),
    }


def _after(done: Compacted, took_s: float) -> dict[str, object]:
    return {
        "database_bytes": done.database_bytes,
        "log_bytes": done.log_bytes,
        "dropped_bodies": done.dropped_bodies,
        "dropped_attempts": done.dropped_attempts,
        "pinned": done.is_pinned,
        "took_s": round(took_s, 3),
    }


def _say(text: str) -> None:
    print_note(text)
