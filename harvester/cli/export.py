"""`harvester export`: writes stored vectors to files that other programs read."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harvester.app.stores import stored_results
from harvester.cli.console import print_json, print_note
from harvester.cli.export_display import ExportDisplay
from harvester.cli.filter_options import WithLabel, wanted_labels, wanted_since_ms, words
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.dataset.export import export as export_vectors
from harvester.dataset.export import export_to_stream
from harvester.dataset.export_parts import ExportedFile, ExportOptions
from harvester.domain.errors import UsageError
from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.tasks.task_id import validate_task_id
from harvester.records.contents import FileKind
from harvester.reports.formats import counted, shown_bytes, shown_duration
from harvester.service import signals
from harvester.settings.model import load_settings

if TYPE_CHECKING:
    from harvester.ports.stored_results import StoredResults

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE|DIR",
        help="A .parquet, .arrow, .npz or .jsonl file, a folder, or '-' for JSON lines on stdout.",
        show_default=False,
    ),
]
Model = Annotated[str | None, typer.Option("--model", metavar="MODEL[,MODEL]", help="Only vectors of these models.")]
Option = Annotated[
    str | None,
    typer.Option("--option", metavar="OPTION[,OPTION]", help="Only these embedding options, such as visual or audio."),
]
Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="SCOPE[,SCOPE]",
        help="Only these scopes, such as clip or asset; version 1 says video for asset.",
    ),
]
InputType = Annotated[
    str | None,
    typer.Option("--input-type", metavar="TYPE[,TYPE]", help="Only these media: video, audio, document, image."),
]
Name = Annotated[str | None, typer.Option("--name", metavar="GLOB", help="Only files of this name, such as 'news*'.")]
OfTask = Annotated[
    list[str] | None, typer.Option("--task", metavar="ID[,ID]", help="Only vectors of these tasks; repeatable.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only vectors harvested since: 7d, 12h, 2026-05-04T13:02:11Z."),
]
Latest = Annotated[bool, typer.Option("--latest", help="Of several tasks with one file name only the newest.")]
Append = Annotated[
    bool, typer.Option("--append", help="Add what FILE or DIR lacks; tasks harvested again replace their vectors.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]

STDOUT = "-"


def export(  # noqa: PLR0913  # one parameter for each option
    target: Target,
    *,
    model: Model = None,
    option: Option = None,
    scope: Scope = None,
    input_type: InputType = None,
    label: WithLabel = None,
    name: Name = None,
    task: OfTask = None,
    since: Since = None,
    latest: Latest = False,
    append: Append = False,
    force: Force = False,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Write vectors to a file.

    A file holds the vectors of one model and dimension; a folder gets Parquet files for each,
    model=MODEL/dim=DIM/part-*.parquet. Each vector comes with its task, place, file name and labels. The file appears
    when it is complete. The options can be combined: a vector must meet all of them.

    Example: harvester export --model marengo3.0 --option visual vectors.parquet
    """
    wanted = ResultFilter(
        models=words(model, "--model"),
        options=words(option, "--option"),
        scopes=words(scope, "--scope"),
        input_types=words(input_type, "--input-type"),
        task_ids=tuple(validate_task_id(one) for text in task or () for one in words(text, "--task")),
        labels=wanted_labels(label),
        name=name,
        since_ms=wanted_since_ms(since, time.time_ns() // 1_000_000),
        latest=latest,
    )
    if append and force:
        raise UsageError("--append and --force exclude each other.", remedy="Give one of them.")
    options = None if target == STDOUT else _options(target, wanted, appends=append, replaces=force)
    if options is None and (json or append or force):
        raise UsageError("'-' goes with neither --json nor --append nor --force.", remedy="Leave them out.")
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    # SIGTERM removes the unfinished file; after SIGKILL the next export does.
    for number in (signal.SIGTERM, *(() if signals.is_ignored_hangup() else (signal.SIGHUP,))):
        signal.signal(number, _end)
    started = time.monotonic()
    results = stored_results(path)
    with ExportDisplay().shown() as display:
        if options is None:
            _to_stdout(results, wanted, display)
            return
        files = export_vectors(results, options, display)
    took_s = time.monotonic() - started
    if json:
        print_json(_as_json(options, files, took_s))
    else:
        print_note(f"{target}: {_summary(files, took_s)}")


def _options(target: str, wanted: ResultFilter, *, appends: bool, replaces: bool) -> ExportOptions:
    kind = _kind(target)
    return ExportOptions(target=Path(target), kind=kind, wanted=wanted, appends=appends, replaces=replaces)


def _kind(target: str) -> FileKind | None:
    """Return the kind of the file, None for a folder. Raises UsageError."""
    suffix = Path(target).suffix.lower()
    if target.endswith(os.sep) or Path(target).is_dir() or not suffix:
        return None
    if suffix not in list(FileKind):
        raise UsageError(
            f"{target!a} has an ending that is no kind of file.",
            remedy=f"Choose from {', '.join(FileKind)}; end the name of a folder with '/'.",
        )
    return FileKind(suffix)


def _to_stdout(results: "StoredResults", wanted: ResultFilter, display: ExportDisplay) -> None:
    sys.stdout.flush()
    export_to_stream(results, wanted, sys.stdout.buffer, display)
    sys.stdout.buffer.flush()


def _summary(files: list[ExportedFile], took_s: float) -> str:
    if not files:
        return "nothing is new."
    added, held = sum(one.added for one in files), sum(one.vectors for one in files)
    facts = [f"{counted(added, 'vector')} of {counted(sum(one.tasks for one in files), 'task')}"]
    if held > added:
        facts.append(f"{counted(held - added, 'vector')} kept")
    if len(files) > 1:
        facts.append(f"{len(files)} files")
    size = sum(one.path.stat().st_size for one in files if one.path.exists())
    return f"{', '.join(facts)}, {shown_bytes(size)} in {shown_duration(took_s)}."


def _as_json(options: ExportOptions, files: list[ExportedFile], took_s: float) -> dict[str, Any]:
    return {
        "path": str(options.target),
        "format": "folder" if options.kind is None else options.kind.removeprefix("."),
        "vectors": sum(one.added for one in files),
        "tasks": sum(one.tasks for one in files),
        "files": [
            {
                "path": str(one.path),
                "model_name": one.space.model_name,
                "dim": one.space.dim,
                "vectors": one.vectors,
                "added": one.added,
                "bytes": one.path.stat().st_size if one.path.exists() else 0,
            }
            for one in files
        ],
        "took_s": round(took_s, 3),
    }


def _end(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)
