"""`harvester import`: stores bodies that people already have."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from harvester.cli.console import print_json, print_note
from harvester.cli.logs import configure_logs
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.domain.tasks.given_model import given_model
from harvester.domain.tasks.task_id import validate_task_id
from harvester.service.lifecycle import stopping_on_signals
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import Settings, load_settings

if TYPE_CHECKING:
    from harvester.cli.import_display import ImportDisplay
    from harvester.service.body_files import FoundFiles
    from harvester.service.imported_bodies import ImportOptions

Places = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE|DIR",
        help="Files with bodies, folders of them, '-' for stdin.",
        show_default=False,
        readable=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="The model of the bodies that name none, such as marengo3.0."),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The input's name where a body has none; else that of the file."),
]
OfTask = Annotated[str | None, typer.Option("--task-id", metavar="ID", help="The id of a single body that names none.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Store bodies of harvested tasks too, in place of what is stored.")
]


def import_(  # noqa: PLR0913  # one parameter for each option
    places: Places = None,
    *,
    model: Model = None,
    name: Name = None,
    task_id: OfTask = None,
    replace: Replace = False,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Store bodies that you already have.

    Takes task objects of both API versions, as `show --json` prints them, and the output.json of Amazon Bedrock, plain
    or as gzip; from folders every *.json and *.json.gz. A body is stored under the id that it names, else under one
    made of its content. Harvested tasks stay as they are, so a second import changes nothing.

    A file that cannot be stored is named with its reason; exit 1 then. Ctrl-C keeps what is stored.

    Example: harvester import --model marengo3.0 embeddings/
    """
    if not places:
        raise UsageError("No file was given.", remedy="Name files or folders; '-' is stdin.")
    limits = read_limits()
    refuse_too_little(limits)
    loaded = fitted(load_settings(config, {"store": {"path": db}}), limits)
    is_asked = loaded.origins["log.level"] != "default"
    configure_logs(loaded.settings.log.level if is_asked else "warning", loaded.settings.log.format)
    # The decoder loads numpy, which is not needed to report a wrong argument.
    from harvester.cli.import_display import ImportDisplay  # noqa: PLC0415
    from harvester.service.imported_bodies import ImportOptions  # noqa: PLC0415

    options = ImportOptions(
        model=None if model is None else given_model(model),
        name=name,
        task_id=None if task_id is None else validate_task_id(task_id),
        replaces=replace,
    )
    found = _found(places, options, loaded.settings.api.max_body_bytes)
    display = ImportDisplay(keeps_results=json)
    try:
        exit_code = anyio.run(partial(_import, loaded.settings, options, found, display))
    except Exception:
        if stored := display.progress.stored:
            print_note(f"{stored} stored before an error; run it again for the rest.")
        raise
    if json:
        print_json(_as_json(display, found))
    else:
        print_note(f"{display.summary(found.skipped)}: {loaded.settings.store.path}")
    raise typer.Exit(exit_code or (1 if display.progress.bad else 0))


def _found(places: Sequence[Path], options: "ImportOptions", max_body_bytes: int) -> "FoundFiles":
    """Return the files to import. Raises UsageError if there are none, or several for one id."""
    from harvester.service.body_files import find_body_files, with_stdin_read  # noqa: PLC0415  # numpy
    from harvester.service.body_reading import STDIN  # noqa: PLC0415  # numpy

    for place in places:
        if place != STDIN and not os.path.lexists(place):
            raise UsageError(f"{str(place)!a} does not exist.", remedy="Name files or folders that exist.")
    found = find_body_files(dict.fromkeys(places))
    if not found.files:
        where = ", ".join(ascii(str(place)) for place in places)
        raise UsageError(f"There is no *.json or *.json.gz in {where}.", remedy="Name a folder with bodies, or files.")
    if options.task_id is not None and len(found.files) > 1:
        raise UsageError(f"--task-id is for one body, and there are {len(found.files)}.", remedy="Import one by one.")
    return with_stdin_read(found, max_body_bytes) if STDIN in places else found


async def _import(
    settings: Settings, options: "ImportOptions", found: "FoundFiles", display: "ImportDisplay"
) -> int | None:
    """Import the files; return the exit code after a signal, else None. Raises StoreError."""
    from harvester.app.importing import open_importer  # noqa: PLC0415  # numpy

    async with open_importer(settings, options, display) as importer:
        display.begin(importer.progress, total=len(found.files))
        async with stopping_on_signals(importer.stop) as stop, display.shown():
            await importer.run(found.files)
    if stop.description is not None:
        print_note(f"{stop.description} What is stored stays: run it again for the rest.")
    return stop.exit_code


def _as_json(display: "ImportDisplay", found: "FoundFiles") -> dict[str, Any]:
    progress = display.progress
    return {
        "stored": progress.stored,
        "known": progress.known,
        "bad": progress.bad,
        "skipped": found.skipped,
        "left": len(found.files) - progress.done,
        "segments": progress.segments,
        "results": display.results,
        "problems": display.problems,
    }
