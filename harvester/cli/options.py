"""Options that several commands share, so that each is spelt and explained once.

None means "not given": the settings file, the environment or the default decides. A command passes the options that
stand for settings to `harvester.settings.model.load_settings` as overrides.

`readable=False`: the code that opens a file reports that it cannot be read, with the exit code and the remedy.
"""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        readable=False,
        help="Settings file; else $HARVESTER_CONFIG, else ./harvester.toml if present.",
    ),
]
Database = Annotated[
    Path | None, typer.Option("--db", metavar="FILE", readable=False, help="The SQLite file (store.path).")
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="auto|status|list",
        help="How to find out what is ready (harvest.strategy): task by task, by pages of the list, or the cheaper.",
    ),
]
Retrieve = Annotated[
    list[str] | None,
    typer.Option(
        "--retrieve",
        metavar="OPTION",
        help="Ask version 1 of the API for this embedding option only: visual, audio, transcription, visual-text;"
        " repeatable. all: every option.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the data as JSON.")]

TaskIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Task ids.", show_default=False)]
IdFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        readable=False,
        help="Read ids from a file, '-' for stdin: one per line, CSV or JSON lines.",
    ),
]
IdColumn = Annotated[
    str | None, typer.Option("--column", metavar="NAME", help="The CSV column of the ids; else task_id, _id or id.")
]
IdField = Annotated[
    str | None, typer.Option("--field", metavar="NAME", help="The JSON field of the ids; else task_id, _id or id.")
]
