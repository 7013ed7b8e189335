"""The forecast of a harvest as text."""

import math
from collections.abc import Iterator

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.endpoint_state import EndpointBudget
from harvester.domain.limits.quotas import WINDOWS_S, Quota
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.queue_sample import QueueSample
from harvester.reports import processing_times
from harvester.reports.deadline_warning import deadline_warning, shown_rate
from harvester.reports.formats import counted, shown_duration, shown_interval, shown_time
from harvester.reports.plan_report import PlanReport
from harvester.reports.request_reasons import reason

_WINDOWS = {60: "a minute", 3600: "an hour", 86_400: "a day"}


def lines(report: PlanReport) -> Iterator[str]:
    """Yield the lines of the text."""
    yield from _budget(report)
    yield ""
    yield from _queue(report)
    if not report.sample.open_tasks:
        return
    yield ""
    yield from _calls(report)
    yield ""
    yield f"processing  {processing_times.summary(report.times)}"
    yield from _outlook(report)


def _budget(report: PlanReport) -> Iterator[str]:
    budget = report.conditions.budget
    rate = "unlimited" if budget.rate_per_s is None else shown_rate(budget.rate_per_s)
    setting = "unlimited" if budget.setting_per_s is None else shown_rate(budget.setting_per_s)
    why = "as configured" if rate == setting else f"{setting} configured; the API allows no more"
    yield f"budget      {rate}, {why}; all processes on this database share it"
    followed, preferred = report.conditions.strategy, report.preferred
    if followed is not preferred:
        yield f"strategy    {followed}: the budget is too small for {preferred}, which asks first"
    for endpoint, limit in report.limits.items():
        known = "; ".join(_known(limit, report.sample.at_ms))
        if known:
            yield f"API limits  {endpoint}: {known}"
    if report.sample.in_hand:
        by = "a process" if report.sample.processes == 1 else f"{report.sample.processes} processes"
        yield f"at work     {by} with {counted(report.sample.in_hand, 'claimed task')}"


def _known(limit: EndpointBudget, at_ms: int) -> Iterator[str]:
    if limit.quota is not None:
        window = _WINDOWS.get(limit.quota.window_s, f"in {shown_duration(limit.quota.window_s)}")
        left = "" if limit.remaining is None else f", {max(0, limit.remaining):,} left"
        if left and limit.reset_s is not None:
            left += f" until {shown_time(at_ms + round(limit.reset_s * 1000))}"
        yield f"a quota of {limit.quota.limit:,} requests {window}{left}"
    if limit.learned_per_minute is not None:
        yield f"cut to {shown_rate(limit.learned_per_minute / 60)} after refusals"
    if limit.blocked_s > 0:
        yield f"no requests until {shown_time(at_ms + round(limit.blocked_s * 1000))}"


def _queue(report: PlanReport) -> Iterator[str]:
    sample, todo = report.sample, report.preview.todo
    if not sample.open_tasks:
        yield "queue       no open tasks"
        return
    next_due = f", the next at {shown_time(sample.next_due_ms)}" if sample.next_due_ms is not None else ""
    later = f"{sample.later:,} later{next_due}" if sample.later else "none later"
    yield (
        f"queue       {sample.open_tasks:,} open: {sample.ready_due:,} ready, "
        f"{sample.pending_due:,} pending and due now, {later}"
    )
    first = f", the first at {shown_time(todo.first_ms)}" if todo.first_ms is not None else ""
    estimated = " (estimated)" if sample.each > 1 else ""
    for count, what in (
        (todo.retrieve, "retrieve: known to be ready"),
        (
            todo.straight_away,
            f"retrieve without asking first{estimated}: almost surely finished, near the deadline or undated",
        ),
        (todo.by_page, "ask by page of the list, when that is worth a request and the budget allows one"),
        (todo.singly, "ask singly"),
        (todo.wait, f"wait: not worth a request yet{first}"),
    ):
        if count:
            yield f"{count:>9,}   {what}"


def _calls(report: PlanReport) -> Iterator[str]:
    rate_per_s = report.conditions.budget.rate_per_s
    every = f"one every {shown_interval(1 / rate_per_s)}" if rate_per_s else "as fast as they are answered"
    quota = _quota_in_force(report)
    if quota is not None:
        every += f" on average: the quota of {_WINDOWS[quota.window_s]} may be used at once, except its last tenth"
    if not report.preview.calls:
        yield "next calls  not shown" if not report.conditions.calls else "next calls  cannot be predicted"
        return
    yield f"next calls  {every}"
    for number, call in enumerate(report.preview.calls):
        wait_s = (call.at_ms - report.sample.at_ms) / 1000
        is_known = quota is None or number == 0
        when = "now" if wait_s < 1 else f"in {shown_duration(wait_s)}" if is_known else "then"
        yield f"  {when:16}{_subject(call.request)} — {reason(call, report)}"


def _quota_in_force(report: PlanReport) -> Quota | None:
    """Return the quota that determines the rate, if its window is an hour or a day."""
    limit, rate_per_s = report.limits[Endpoint.RETRIEVE], report.conditions.budget.rate_per_s
    if limit.quota is None or rate_per_s is None or limit.quota.window_s <= WINDOWS_S[0]:
        return None
    return limit.quota if math.isclose(limit.quota.per_minute, rate_per_s * 60) else None


def _subject(request: PlannedRequest) -> str:
    if isinstance(request, ListRequest):
        start, end = shown_time(request.query.started_at_ms), shown_time(request.query.ended_at_ms)
        is_same_day = start[:10] == end[:10]
        return f"list {start} to {end[11:] if is_same_day else end}"
    return f"{request.endpoint} {request.task.task_id}"


def _outlook(report: PlanReport) -> Iterator[str]:
    expected, preview, sample = report.preview.expected, report.preview, report.sample
    each = expected.requests / sample.open_tasks
    yield (
        f"requests    about {expected.requests:,.0f} in all, {each:.2f} a task: "
        f"{expected.retrievals:,.0f} for results, {expected.questions:,.0f} to ask"
    )
    late = expected.finished_ms is not None and expected.finished_ms > preview.feasibility.finish_ms
    why = "when the youngest has finished" if late else "at this rate"
    warning, first_loss_ms = deadline_warning(preview.feasibility) or "no task", preview.feasibility.first_loss_ms
    if first_loss_ms is not None:
        why += ", including the lost ones"
        warning += f" The first at {shown_time(first_loss_ms)} (in {_until(first_loss_ms, sample)})."
    yield f"finish      about {shown_time(preview.finish_ms)} (in {_until(preview.finish_ms, sample)}), {why}"
    if preview.feasibility.overdue:
        yield f"overdue     {counted(preview.feasibility.overdue, 'open task')} past the deadline"
    yield f"at risk     {warning}"


def _until(at_ms: int, sample: QueueSample) -> str:
    return shown_duration((at_ms - sample.at_ms) / 1000)
