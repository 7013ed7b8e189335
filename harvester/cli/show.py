"""`harvester show`: shows everything about one task."""

import json as jsonlib
import re
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from harvester.app.stores import open_insights
from harvester.cli.console import print_error, print_report, write_foreign_bytes
from harvester.cli.options import ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.domain.tasks.dead_letter import Payload, PayloadError
from harvester.domain.tasks.retrieve_options import NO_SEGMENTS, OPTION_REFUSED, UNFILTERED_MS
from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_id import validate_task_id
from harvester.domain.tasks.task_reports import TaskDetails
from harvester.ports.maintenance import API_SOURCE
from harvester.reports.error_codes import ENDS, explain
from harvester.reports.formats import shown_bytes, shown_time
from harvester.reports.result_text import result_lines, seconds
from harvester.settings.model import load_settings

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task.")]
ApiJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON of a harvested task.")]

Raw = Annotated[bool, typer.Option("--raw", help="Print the kept body of a result that could not be stored.")]

_SOURCES = {"file": "a body of the API in a file", "bedrock": "an output of Amazon Bedrock"}

_ENDS_BY_ERROR = {TaskState.FAILED, TaskState.REJECTED}
"""The ends whose remedy depends on the last error; the others have one whatever was the last error."""

# A terminal would act on some of these, and the encoding of stdout may lack the others.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")


def show(
    id: TaskId,  # noqa: A002  # the name on the help page
    *,
    json: ApiJson = False,
    raw: Raw = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Show everything about a task.

    Shows metadata, segments by option and scope, the error with its remedy, and every attempt. --json prints the API's
    JSON instead, floats to the last digit; --raw prints the kept body, escaped on a terminal.

    Example: harvester show 66f537778d9641fe5a0d101f --json > task.json
    """
    if json and raw:
        raise UsageError("--json and --raw exclude each other.", remedy="Give one of them.")
    settings = load_settings(config, {"store": {"path": db}}).settings
    path = settings.store.path
    task_id = validate_task_id(id)
    with open_insights(path) as insights:
        story = insights.task(task_id)
        document = insights.api_json(task_id) if json else None
        payload = insights.payload(story.task["id"]) if story is not None and raw else None
    if story is None:
        print_error(f"The task {task_id} is not in {path}. Queue it: `harvester add {task_id}`.")
        raise typer.Exit(1)
    if raw:
        _write_raw(task_id, payload)
    elif not json:
        for line in _lines(story, settings.harvest.embedding_options):
            print_report(line)
    elif document is None:
        print_error(f"The task {task_id} is {story.task['state']}, not harvested: there is no JSON to print.")
        raise typer.Exit(1)
    else:
        _write_json(document)


def _write_raw(task_id: str, payload: Payload | None) -> None:
    if payload is None:
        print_error(f"No body of the task {task_id} is kept: only bodies that could not be stored are.")
        raise typer.Exit(1)
    try:
        write_foreign_bytes(payload.pieces())
    except PayloadError as error:
        if not payload.is_cut:
            print_error(str(error))
            raise typer.Exit(1) from None
    if payload.is_cut:
        print_error("This is only the beginning: the rest of the body was too large to keep.")


def _write_json(document: bytes) -> None:
    text = document.decode()
    if not text.isascii() or "\x7f" in text:
        text = _BEYOND_ASCII.sub(_escaped, text)
    sys.stdout.write(text + "\n")


def _escaped(match: re.Match[str]) -> str:
    """Return the character as JSON writes it in ASCII: one or two escapes."""
    return jsonlib.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"


def _lines(story: TaskDetails, default_options: tuple[str, ...]) -> Iterator[str]:
    task = story.task
    yield f"task          {task['task_id']}"
    yield f"state         {task['state']}"
    yield f"queued        {shown_time(task['added_at'])}"
    if task["source"] == API_SOURCE:
        yield f"deadline      {shown_time(task['expires_at'])}"
        yield f"retrieves     {_retrieved(story, default_options)}"
        yield from _held_lines(story)
    else:
        yield f"imported      from {_SOURCES.get(task['source'], task['source'])}"
    if task["ended_at"] is not None:
        yield f"ended         {shown_time(task['ended_at'])}"
    elif task["lease_owner"] is not None:
        yield f"in work       by {task['lease_owner']} until {shown_time(task['lease_until'])}"
    else:
        yield f"next attempt  {shown_time(task['next_attempt_at']) if task['next_attempt_at'] else 'due now'}"
    for number, (key, value) in enumerate(story.labels.items()):
        yield f"{'' if number else 'labels':<14}{key}={value}"
    yield from _trouble_lines(story)
    yield from _video_lines(story)
    yield from _attempt_lines(story)


def _retrieved(story: TaskDetails, default: tuple[str, ...]) -> str:
    """Return which embedding options are asked for, or were."""
    if story.task["api_version"] == "v2":
        return "everything: version 2 of the API has no filter"
    task, is_refused = story.task, story.task["error_code"] == OPTION_REFUSED
    if TaskState(task["state"]).is_open and task["error_code"] == NO_SEGMENTS:
        return "everything: the last answer had no segments"
    if TaskState(task["state"]).is_open and is_refused and task["expires_at"] - time.time() * 1000 < UNFILTERED_MS:
        return "everything: the API refuses the embedding options, and the deadline is near"
    if story.retrieve_options is not None or story.task["state"] == TaskState.HARVESTED:
        return ", ".join(story.retrieve_options or ()) or "everything"
    if default:
        return f"{', '.join(default)}, by harvest.embedding_options"
    return "everything; the API has refused the options of the last harvest" if is_refused else "everything"


def _held_lines(story: TaskDetails) -> Iterator[str]:
    """Yield which embedding options a stored result holds that was retrieved with a filter."""
    task, options = story.task, story.retrieve_options
    if story.video is None or options is None:
        return
    if task["state"] != TaskState.HARVESTED:
        held = ", ".join(dict.fromkeys(group.option for group in story.groups if group.option)) or "a result"
        yield f"holds         {held}, until the task is retrieved again"
    elif options:
        widen = f"`harvester retry {task['task_id']} --retrieve all` retrieves all of them before the deadline"
        yield f"holds         {', '.join(options)} only, of the embedding options; {widen}"


def _trouble_lines(story: TaskDetails) -> Iterator[str]:
    """Yield what the end of the task means, the last error, and one remedy: that of the end, or the error's."""
    task, end = story.task, ENDS.get(TaskState(story.task["state"]))
    is_by_error = task["error_code"] is not None and task["state"] in _ENDS_BY_ERROR
    if end is not None:
        yield f"  means       {end.meaning}"
        if not is_by_error:
            yield f"  what to do  {_for_this(end.remedy, story)}"
    if task["error_code"] is not None:
        reason = explain(task["error_code"])
        yield f"last error    {shown_time(task['error_at'])} {task['error_code']}: {task['error_message']}"
        yield f"  means       {reason.meaning}"
        if end is None or is_by_error:
            yield f"  what to do  {_for_this(reason.remedy, story)}"
    if story.kept is not None:
        cut = ", only its beginning" if story.kept["is_cut"] else ""
        size = shown_bytes(story.kept["bytes"])
        yield f"kept body     {size} of gzip, received {shown_time(story.kept['received_at'])}{cut}"


def _for_this(remedy: str, story: TaskDetails) -> str:
    return remedy.replace(" ID`", f" {story.task['task_id']}`").replace(" ID ", f" {story.task['task_id']} ")


def _video_lines(story: TaskDetails) -> Iterator[str]:
    video = story.video
    if video is None:
        yield from _listed_lines(story)
        return
    yield ""
    yield from result_lines(story, video)


def _listed_lines(story: TaskDetails) -> Iterator[str]:
    """Yield what the account's list says about a task that is not harvested yet."""
    listed = story.listed
    if listed is None:
        return
    yield ""
    yield f"model         {listed['model_name'] or '-'}"
    if listed["input_type"] is not None:
        yield f"medium        {listed['input_type']}"
    yield f"file          {listed['input_filename'] or listed['input_url'] or '-'}"
    yield f"duration      {seconds(listed['duration'])}"
    yield f"created       {shown_time(story.task['created_at'])}"
    yield f"listed        {shown_time(listed['listed_at'])}"


def _attempt_lines(story: TaskDetails) -> Iterator[str]:
    yield ""
    made, shown = story.task["attempts"], len(story.attempts)
    yield f"attempts      {shown}" + (f", of {made}: older ones are deleted" if made > shown else "")
    for attempt in story.attempts:
        http = f" HTTP {attempt.http_status}" if attempt.http_status else ""
        size = f", {shown_bytes(attempt.bytes)}" if attempt.bytes else ""
        why = f": {', '.join(filter(None, (attempt.code, attempt.message)))}" if attempt.message else ""
        trace = f" [trace {attempt.trace_id}]" if attempt.trace_id else ""
        yield (
            f"  {shown_time(attempt.at_ms)} {attempt.endpoint}{http} {attempt.outcome}"
            f" in {attempt.duration_ms} ms{size}{why}{trace}"
        )
    others = {attempt.code for attempt in story.attempts if attempt.code} - {story.task["error_code"]}
    for code in sorted(others):
        yield f"  {code}: {explain(code).meaning}"
