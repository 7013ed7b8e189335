"""The words of `harvester show` about a stored result: its model, its input, and its segments in reading order."""

from collections.abc import Iterator
from typing import Any

from harvester.domain.tasks.task_reports import SegmentGroup, TaskDetails
from harvester.reports.formats import shown_time

_SOURCES = {
    "answer": "",
    "list": ", by the account's list",
    "inferred": ", the only model that makes such a result",
    "given": ", as given at the import",
}


def result_lines(details: TaskDetails, video: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about a result; `video` is its row."""
    yield f"model         {_model(details.task, video)}"
    if video["input_type"] is not None:
        yield f"medium        {video['input_type']}"
    yield f"file          {video['input_filename'] or video['input_url'] or '-'}"
    yield from _length_lines(video)
    if details.options:
        yield f"options       {', '.join(details.options)}"
    yield f"scopes        {', '.join(details.scopes) or '-'}"
    if details.tokens:
        yield f"tokens        {', '.join(f'{medium} {count}' for medium, count in details.tokens.items())}"
    if video["is_truncated"]:
        reason = f" ({video['truncation_reason']})" if video["truncation_reason"] else ""
        yield f"warning       the model has read only a part of the input{reason}"
    for warning in details.warnings:
        yield f"warning       {warning}"
    yield f"created       {shown_time(video['created_at'])}"
    yield f"updated       {shown_time(video['updated_at'])}"
    yield f"segments      {video['segment_count']}"
    yield from map(_group_line, details.groups)


def _model(task: dict[str, Any], video: dict[str, Any]) -> str:
    if video["model_name"] is not None:
        return f"{video['model_name']}{_SOURCES.get(video['model_source'] or '', '')}"
    if task["source"] != "api":
        return "unknown: neither the imported file nor the import names it"
    if video["model_asked_at"] is not None:
        asked = f"which did not show this task at {shown_time(video['model_asked_at'])}"
        return f"unknown: the API names it only in its list, {asked}"
    return "unknown: the API names it only in its list; `harvester run` and `backfill` look it up"


def _length_lines(video: dict[str, Any]) -> Iterator[str]:
    if video["duration"] is not None or video["input_type"] not in ("document", "image"):
        clips = "" if video["video_clip_length"] is None else f", clips of {seconds(video['video_clip_length'])}"
        yield f"duration      {seconds(video['duration'])}{clips}"
    if video["start_offset_sec"] is not None or video["end_offset_sec"] is not None:
        yield f"embedded      {seconds(video['start_offset_sec'])} to {seconds(video['end_offset_sec'])} of the input"


def _group_line(group: SegmentGroup) -> str:
    kind = f"{group.option or '-'}, {group.scope or '-'}"
    uncertain = f", {group.uncertain} with uncertainty" if group.uncertain else ""
    return f"  {group.count:>6} {kind}: {_span(group)}, {group.dim} numbers of {group.dtype}{uncertain}"


def _span(group: SegmentGroup) -> str:
    if group.first_chunk is not None:
        return f"chunks {group.first_chunk} to {group.last_chunk}"
    if group.start_page is not None:
        return f"pages {group.start_page} to {group.end_page}"
    return f"{seconds(group.start)} to {seconds(group.end)}"


def seconds(value: float | None) -> str:
    """Return a number of seconds as text; `-` for None."""
    return "-" if value is None else f"{value:g} s"
