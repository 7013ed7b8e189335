"""Exports vectors of one space to one file, and adds to such a file what is new.

A file with a footer cannot grow, and a reader could see it half grown: so `--append` makes a whole new file, takes
along the rows of the old one, and gives it the old one's name.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from harvester.dataset.export_parts import (
    ExportedFile,
    ExportListener,
    ExportOptions,
    busy,
    check_contents,
    check_parent,
    contents_of,
    rows_of,
    taken,
    write_rows,
)
from harvester.dataset.former_tasks import Marks, NewTasks, compare, is_kept, stale_harvests
from harvester.dataset.record_files import batch_rows, former_file, new_arrow_file, new_file
from harvester.dataset.spaces import only_space, shown_space
from harvester.dataset.workshop import locked, name_new_file, replace_file, sweep, workshop
from harvester.domain.errors import UsageError

if TYPE_CHECKING:
    from harvester.domain.results.vectors import VectorSpace
    from harvester.ports.stored_results import StoredResults
    from harvester.records.contents import FileKind

MADE = "export.made"


def export_to_file(
    results: StoredResults, options: ExportOptions, kind: FileKind, listener: ExportListener
) -> list[ExportedFile]:
    """Write the file. Raises UsageError, StoreError, OSError."""
    target = options.target
    _check_target(options, kind)
    sweep(target.absolute().parent)
    if options.appends and target.exists():
        return _append(results, options, kind, listener)
    space, count = only_space(results, options.wanted)
    listener.begin(count, "vectors")
    with workshop(target.absolute().parent) as folder:
        made = folder / MADE
        with new_file(made, kind, contents_of(space, options.wanted)) as writer:
            batches = results.vectors(options.wanted, space, batch_rows=batch_rows(space.dim))
            vectors, tasks = write_rows(batches, writer, listener)
        if options.replaces:
            replace_file(made, target)
        else:
            name_new_file(made, target)
    return [ExportedFile(target, space, vectors, vectors, tasks)]


def _check_target(options: ExportOptions, kind: FileKind) -> None:
    target = options.target
    check_parent(target)
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_file():
        raise UsageError(f"{str(target)!a} is not a plain file.", remedy="Give another name.")
    if options.appends and not kind.needs_arrow:
        raise UsageError(
            f"{kind.value} files do not say what they hold, so nothing can be added to them.",
            remedy="Write it anew with --force; .parquet, .arrow and folders take --append.",
        )
    if not options.appends and not options.replaces:
        raise taken(target)


def _append(
    results: StoredResults, options: ExportOptions, kind: FileKind, listener: ExportListener
) -> list[ExportedFile]:
    target, wanted, new = options.target, options.wanted, NewTasks()
    with locked(target) as is_ours:
        if not is_ours:
            raise busy(target)
        former = former_file(target, kind)
        contents = check_contents(former.contents(), wanted, target)
        space = contents.space
        _check_model(options, space)
        held = Marks((task, space.model_name) for task in former.tasks())
        # Also tasks of other models: one that has got another model leaves the file.
        stored = compare(
            [held],
            results.tasks(replace(wanted, models=())),
            lambda task: new.add(task) if task.model_name == space.model_name else None,
        )
        stale = stale_harvests(held, stored, latest=wanted.latest)
        if not new.count and not stale:
            return []
        listener.begin(new.count, "tasks")
        with workshop(target.absolute().parent) as folder:
            made = folder / MADE
            with new_arrow_file(made, kind, contents) as writer:
                kept = former.copy(writer, is_kept(stale, space.model_name))
                vectors, tasks = write_rows(rows_of(results, wanted, space, new), writer, listener)
            replace_file(made, target)
    return [ExportedFile(target, space, kept + vectors, vectors, tasks)]


def _check_model(options: ExportOptions, space: VectorSpace) -> None:
    models = options.wanted.models
    if models and space.model_name not in models:
        raise UsageError(
            f"{str(options.target)!a} holds vectors of {shown_space(space)}.",
            remedy="Append without --model, or export to another name.",
        )
