"""Exports vectors to a folder of Parquet files, `model=…/dim=…/part-….parquet`, and adds to such a folder what is new.

New tasks go into new files. The rows of a task that was harvested again replace the former ones in their file, of which
a new one is made: each file changes at once, so a reader finds the rows of one harvest of a task, or of the other one.
A run that is killed between two files leaves whole ones, and the next run finds by the files what they lack.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harvester.dataset.export_parts import (
    ExportedFile,
    ExportListener,
    ExportOptions,
    busy,
    check_contents,
    check_parent,
    contents_of,
    rows_of,
    write_rows,
)
from harvester.dataset.former_tasks import Marks, MarkSet, NewTasks, compare, is_kept, stale_harvests
from harvester.dataset.record_files import batch_rows, former_file, new_arrow_file, new_file
from harvester.dataset.spaces import wanted_spaces
from harvester.dataset.workshop import is_workshop, locked, name_new_file, replace_file, sweep, sync, workshop
from harvester.domain.errors import UsageError
from harvester.records.contents import Contents, FileKind

if TYPE_CHECKING:
    from harvester.domain.results.result_filter import ResultFilter
    from harvester.domain.results.vectors import ResultTask, VectorSpace
    from harvester.ports.stored_results import StoredResults

KIND = FileKind.PARQUET

NO_MODEL = "__HIVE_DEFAULT_PARTITION__"
"""How readers of such folders know that a partition's value is null."""

_PARTS = "model=*/dim=*/*.parquet"


@dataclass(slots=True)
class _Part:
    """A file that is there, its tasks, and the tasks whose rows replace others in it."""

    path: Path
    contents: Contents
    marks: Marks
    again: NewTasks = field(default_factory=NewTasks)

    @property
    def space(self) -> VectorSpace:
        return self.contents.space


def export_to_folder(results: StoredResults, options: ExportOptions, listener: ExportListener) -> list[ExportedFile]:
    """Write the files. Raises UsageError, StoreError, OSError."""
    target = options.target
    check_parent(target)
    if os.path.lexists(target) and not target.is_dir():
        raise UsageError(f"{str(target)!a} is not a folder.", remedy="Give another name.")
    sweep(target.absolute().parent)
    if target.is_dir():
        sweep(target)
        with locked(target) as is_ours:
            if not is_ours:
                raise busy(target)
            if any(not is_workshop(one) for one in target.iterdir()):
                return _append(results, options, listener)
            return _export(results, options, listener, is_new=False)
    return _export(results, options, listener, is_new=True)


def _export(
    results: StoredResults, options: ExportOptions, listener: ExportListener, *, is_new: bool
) -> list[ExportedFile]:
    target, wanted, files = options.target, options.wanted, []
    spaces = wanted_spaces(results, wanted)
    listener.begin(sum(count for _, count in spaces), "vectors")
    with workshop(_place(target)) as folder:
        tree = folder / "tree"
        for space, _ in spaces:
            path = Path(*_partition(space), _part_name())
            (tree / path.parent).mkdir(parents=True)
            with new_file(tree / path, KIND, contents_of(space, wanted)) as writer:
                rows = results.vectors(wanted, space, batch_rows=batch_rows(space.dim))
                vectors, tasks = write_rows(rows, writer, listener)
            files.append(ExportedFile(target / path, space, vectors, vectors, tasks))
        _publish_tree(tree, target, is_new=is_new)
    return files


def _publish_tree(tree: Path, target: Path, *, is_new: bool) -> None:
    """Give the files their names: all at once where the folder is new, else those of each model at once."""
    for folder in (*tree.glob("model=*/dim=*"), *tree.glob("model=*"), tree):
        sync(folder)
    if is_new:
        try:
            tree.rename(target)
        except OSError as error:
            raise FileExistsError(target) if error.errno in {errno.ENOTEMPTY, errno.ENOTDIR} else error from error
        sync(target.absolute().parent)
        return
    for folder in sorted(tree.iterdir()):
        folder.rename(target / folder.name)
    sync(target)


def _append(results: StoredResults, options: ExportOptions, listener: ExportListener) -> list[ExportedFile]:
    target, wanted = options.target, options.wanted
    paths = sorted(target.glob(_PARTS))
    if not paths:
        raise UsageError(f"The folder {str(target)!a} holds other files.", remedy="Name a new folder.")
    if not options.appends:
        raise UsageError(
            f"The folder {str(target)!a} exists.", remedy="Add what is new with --append, or name a new folder."
        )
    parts = [_read_part(path, wanted) for path in paths]
    fresh: dict[str | None, NewTasks] = {}
    stored = compare([part.marks for part in parts], results.tasks(wanted), _Homes(parts, fresh).add)
    stale = [stale_harvests(part.marks, stored, latest=wanted.latest) for part in parts]
    listener.begin(sum(one.count for one in (*fresh.values(), *(part.again for part in parts))), "tasks")
    with workshop(_place(target)) as folder:
        additions = _Additions(results, options, listener, folder / "part")
        files = list(additions.add_parts(fresh))
        return files + [additions.rewrite(part, gone) for part, gone in zip(parts, stale, strict=True) if gone]


def _read_part(path: Path, wanted: ResultFilter) -> _Part:
    former = former_file(path, KIND)
    contents = check_contents(former.contents(), wanted, path)
    return _Part(path, contents, Marks((task, contents.space.model_name) for task in former.tasks()))


class _Homes:
    """Decides into which file a new task goes: into the one that has its rows already, else into a fresh one."""

    def __init__(self, parts: list[_Part], fresh: dict[str | None, NewTasks]) -> None:
        self._parts = [(part, MarkSet(part.marks.ids)) for part in parts]
        self._fresh = fresh

    def add(self, task: ResultTask) -> None:
        mark = hash(task.task_id)
        for part, ids in self._parts:
            if mark in ids and part.space.model_name == task.model_name:
                part.again.add(task)
                return
        self._fresh.setdefault(task.model_name, NewTasks()).add(task)


@dataclass(frozen=True, slots=True)
class _Additions:
    """Writes the files of one `--append`, each in `made` until it is complete."""

    results: StoredResults
    options: ExportOptions
    listener: ExportListener
    made: Path

    def add_parts(self, fresh: dict[str | None, NewTasks]) -> Iterator[ExportedFile]:
        """Write a new file for each space of the fresh tasks."""
        wanted = self.options.wanted
        for space, _ in self.results.spaces(wanted) if fresh else ():
            if space.model_name not in fresh:
                continue
            path = self.options.target.joinpath(*_partition(space), _part_name())
            with new_file(self.made, KIND, contents_of(space, wanted)) as writer:
                rows = rows_of(self.results, wanted, space, fresh[space.model_name])
                vectors, tasks = write_rows(rows, writer, self.listener)
            if vectors:
                path.parent.mkdir(parents=True, exist_ok=True)
                name_new_file(self.made, path)
                sync(path.parent.parent)
                sync(self.options.target)
                yield ExportedFile(path, space, vectors, vectors, tasks)
            else:
                self.made.unlink()

    def rewrite(self, part: _Part, stale: frozenset[int]) -> ExportedFile:
        """Replace rows of a file by a new file in its place; one without rows goes."""
        with new_arrow_file(self.made, KIND, part.contents) as writer:
            kept = former_file(part.path, KIND).copy(writer, is_kept(stale, part.space.model_name))
            rows = rows_of(self.results, self.options.wanted, part.space, part.again)
            vectors, tasks = write_rows(rows, writer, self.listener)
        if kept + vectors:
            replace_file(self.made, part.path)
        else:
            part.path.unlink()
            self.made.unlink()
            with suppress(OSError):  # other files are there
                part.path.parent.rmdir()
                part.path.parent.parent.rmdir()
        return ExportedFile(part.path, part.space, kept + vectors, vectors, tasks)


def _partition(space: VectorSpace) -> tuple[str, str]:
    model = NO_MODEL if space.model_name is None else quote(space.model_name, safe="")
    return f"model={model}", f"dim={space.dim}"


def _part_name() -> str:
    return f"part-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}.parquet"


def _place(target: Path) -> Path:
    """Return the folder to work in: beside the target, where no reader looks, unless that is another file system."""
    parent = target.absolute().parent
    if not target.is_dir():
        return parent
    is_beside = os.access(parent, os.W_OK) and parent.stat().st_dev == target.stat().st_dev
    return parent if is_beside else target
