"""`harvester verify`: checks whether the database keeps its promises."""

from typing import Annotated

import typer

from harvester.cli.options import AsJson, ConfigFile, Database

Deep = Annotated[bool, typer.Option("--deep", help="Read every vector: checksums, finite values, unit length.")]


def verify(*, deep: Deep = False, json: AsJson = False, db: Database = None, config: ConfigFile = None) -> None:
    """Check what the database holds.

    Integrity, counts, dimensions and lengths, with --deep the numbers too. Exit 1 with the list of what is wrong.

    Example: harvester verify --deep
    """
    from contextlib import closing  # noqa: PLC0415

    from harvester.cli.console import print_data, print_json  # noqa: PLC0415
    from harvester.config import load_settings  # noqa: PLC0415
    from harvester.store.connecting import open_for_reading, translating_errors  # noqa: PLC0415
    from harvester.store.verifying import verify as findings_of  # noqa: PLC0415

    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with translating_errors(path), closing(open_for_reading(path)) as connection:
        findings = list(findings_of(connection, deep=deep))
    errors = [finding for finding in findings if not finding.is_warning]
    if json:
        print_json(
            {
                "ok": not errors,
                "findings": [{"task_id": one.task_id, "text": one.text, "warning": one.is_warning} for one in findings],
            }
        )
    else:
        for one in findings:
            about = f"{one.task_id}: " if one.task_id else ""
            print_data(f"{'warning' if one.is_warning else 'error'}: {about}{one.text}")
        looked = "every vector was read" if deep else "structure, counts and lengths; --deep reads the vectors too"
        verdict = f"{len(errors)} errors" if errors else "The database is sound"
        warnings = f", {len(findings) - len(errors)} warnings" if len(findings) > len(errors) else ""
        typer.echo(f"{verdict}{warnings} ({looked}): {path}", err=True)
    raise typer.Exit(1 if errors else 0)
