"""`harvester verify`: checks the database, and puts damaged tasks back to pending."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harvester.app.stores import open_maintenance
from harvester.cli.console import print_error, print_json, print_note, print_report
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.ports.maintenance import SHOWN_OF_A_TASK, Damaged, Finding, Mended, StoreMaintenance
from harvester.reports.formats import counted, shown_time
from harvester.settings.model import load_settings

Deep = Annotated[bool, typer.Option("--deep", help="Read every vector: checksums, finite values, unit length.")]
Repair = Annotated[
    bool,
    typer.Option("--repair", help="With --deep: put damaged tasks back to pending while the platform has them."),
]


def verify(
    *, deep: Deep = False, repair: Repair = False, json: AsJson = False, db: Database = None, config: ConfigFile = None
) -> None:
    """Check the data in the database.

    Checks integrity, counts, dimensions and lengths, with --deep the numbers too. Exit 1 with a list of findings.

    --repair puts damaged tasks back to pending if their seven days are not over; others, and imported ones, are listed
    and stay as they are. Whole results get their deleted tasks back; other rows without a task are removed.

    Without --repair nothing is changed. Exit 1 if something is still wrong.

    Example: harvester verify --deep
    """
    if repair and not deep:
        raise UsageError("--repair needs --deep.", remedy="Run `harvester verify --deep --repair`.")
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    store = open_maintenance(path)
    verdict = _repaired(store) if repair else Verdict(store.verify(deep=deep))
    if json:
        print_json(_as_json(verdict, repair=repair))
    else:
        _tell(verdict, path, deep=deep)
    raise typer.Exit(1 if verdict.errors else 0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings after any repair, the repaired tasks, and the damaged ones that no request can bring again."""

    findings: Sequence[Finding]
    repaired: Sequence[Damaged] = ()
    lost: Sequence[Damaged] = ()
    is_malformed: bool = False
    mended: Sequence[Mended] = ()

    @property
    def errors(self) -> list[Finding]:
        """The findings without the warnings."""
        return [finding for finding in self.findings if not finding.is_warning]


def _repaired(store: StoreMaintenance) -> Verdict:
    """Repair the tasks that the platform still has, and check again: only that shows whether the database is sound."""
    found = store.examine()
    mended = [] if found.is_malformed or all(one.is_warning for one in found.findings) else store.mend_half_deleted()
    if mended:
        found = store.examine()
    now_ms = time.time_ns() // 1_000_000
    lost = [one for one in found.damaged if not one.can_be_had(now_ms)]
    if found.is_malformed or len(lost) == len(found.damaged):
        return Verdict(found.findings, lost=lost, is_malformed=found.is_malformed, mended=mended)
    repaired = store.repair(found.damaged, now_ms)
    return Verdict(store.verify(deep=True), repaired, lost, mended=mended)


def _as_json(verdict: Verdict, *, repair: bool) -> dict[str, object]:
    findings = [{"task_id": one.task_id, "text": one.text, "warning": one.is_warning} for one in verdict.findings]
    document: dict[str, object] = {"ok": not verdict.errors, "findings": findings}
    if repair:
        document["repaired"] = [{"task_id": one.task_id, "was": one.texts} for one in verdict.repaired]
        document["mended"] = [{"task_id": one.task_id, "text": one.text} for one in verdict.mended]
        document["lost"] = [] if verdict.is_malformed else [one.task_id for one in verdict.lost]
    return document


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Name the first findings of each task, and count the rest: a long video has thousands of vectors."""
    seen = Counter[tuple[str, str]]()
    for one in findings:
        kind, about = "warning" if one.is_warning else "error", f"{one.task_id}: " if one.task_id else ""
        seen[kind, about] += 1
        if not about or seen[kind, about] <= SHOWN_OF_A_TASK:
            yield f"{kind}: {about}{one.text}"
    for (kind, about), count in seen.items():
        if about and count > SHOWN_OF_A_TASK:
            yield f"{kind}: {about}and {count - SHOWN_OF_A_TASK} more; --json lists them"


def _tell_lost(lost: Sequence[Damaged]) -> None:
    for damaged in lost:
        if damaged.is_imported:
            print_report(f"damaged: {damaged.task_id}: imported; left alone, import its file again with --replace")
        else:
            print_report(f"lost: {damaged.task_id}: past its deadline, {shown_time(damaged.expires_at_ms)}; left alone")
    if not all(damaged.is_imported for damaged in lost):
        print_error(
            "Restore lost tasks from a backup, or embed the videos again; see docs/howto/operations.md, Restoring."
        )


def _tell(verdict: Verdict, path: Path, *, deep: bool) -> None:
    for one in verdict.mended:
        print_report(f"mended: {one.task_id}: {one.text}" if one.task_id else f"mended: {one.text}")
    for damaged in verdict.repaired:
        until = shown_time(damaged.expires_at_ms)
        print_report(f"repaired: {damaged.task_id}: {damaged.summary}; pending again, deadline {until}")
    for line in _finding_lines(verdict.findings):
        print_report(line)
    if verdict.is_malformed:
        print_error(
            "SQLite reports a damaged file: nothing was changed. Restore a backup; see docs/howto/operations.md."
        )
    else:
        _tell_lost(verdict.lost)
    if verdict.repaired:
        print_note(f"{counted(len(verdict.repaired), 'task')} pending again: `harvester backfill` retrieves them.")
    depth = "every vector was read" if deep else "structure, counts and lengths; --deep reads the vectors too"
    errors, warnings = len(verdict.errors), len(verdict.findings) - len(verdict.errors)
    said = counted(errors, "error") if errors else "The database is sound"
    also = f", {counted(warnings, 'warning')}" if warnings else ""
    print_note(f"{said}{also} ({depth}): {path}")
