"""`harvester retry`: give ends another chance."""

from typing import TYPE_CHECKING, Annotated

import typer

from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, TaskIds

if TYPE_CHECKING:
    from harvester.domain.tasks import TaskState

States = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE[,STATE]", help="All tasks in these: failed, expired, missing, rejected."),
]


def retry(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    state: States = None,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Put ended tasks back to pending.

    Harvested ones stay as they are: nothing undoes a harvest.

    Example: harvester retry --state rejected,missing
    """
    from contextlib import closing  # noqa: PLC0415

    from harvester.cli.console import print_json  # noqa: PLC0415
    from harvester.cli.formats import counted  # noqa: PLC0415
    from harvester.cli.given_ids import collect_task_ids  # noqa: PLC0415
    from harvester.config import load_settings  # noqa: PLC0415
    from harvester.domain.errors import UsageError  # noqa: PLC0415
    from harvester.store.connecting import in_transaction, open_existing, translating_errors  # noqa: PLC0415
    from harvester.store.taking import retry as put_back  # noqa: PLC0415

    states = _states(state) if state is not None else []
    given = collect_task_ids(ids, file, column=column, field=field)
    if given.task_ids is None and not states:
        raise UsageError("Nothing to retry was named.", remedy="Give ids, --file FILE or --state failed,missing.")
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    task_ids = given.task_ids or []
    with translating_errors(path), closing(open_existing(path)) as connection:
        count = in_transaction(connection, lambda connection: put_back(connection, task_ids=task_ids, states=states))
    if json:
        print_json({"pending_again": count, "refused": given.refused})
    else:
        rest = len(task_ids) - count
        note = f"; {rest} of the named ones are open, harvested or unknown" if not states and rest > 0 else ""
        typer.echo(f"{counted(count, 'task')} pending again{note}.", err=True)
    raise typer.Exit(1 if given.refused else 0)


def _states(text: str) -> "list[TaskState]":
    from harvester.domain.errors import UsageError  # noqa: PLC0415
    from harvester.domain.tasks import END_STATES, TaskState  # noqa: PLC0415

    possible = [state for state in TaskState if state in END_STATES and state is not TaskState.HARVESTED]
    wanted = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in wanted or [text]:
        if name not in possible:
            raise UsageError(f"--state {name!a} cannot be retried.", remedy=f"Choose from {', '.join(possible)}.")
    return [TaskState(name) for name in wanted]
