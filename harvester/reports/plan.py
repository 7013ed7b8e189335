"""The forecast of a harvest as text and as JSON."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.pacer import EndpointBudget
from harvester.domain.limits.quotas import WINDOWS_S, Quota
from harvester.domain.planning.costs import SURE
from harvester.domain.planning.forecast import Call, Conditions, Forecast, QueueSample, finished_among
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.poll_times import LAST_CHANCE_MS
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task, TaskState
from harvester.reports.deadline_warning import deadline_warning, shown_rate
from harvester.reports.formats import counted, shown_duration, shown_interval, shown_time

MAX_CLASSES = 3
"""Classes of models and lengths to show: those with most observations."""

_WINDOWS = {60: "a minute", 3600: "an hour", 86_400: "a day"}


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The queue, the conditions and the forecast; `limits` has the known limits of each endpoint.

    The strategy of the conditions differs from `preferred` if the budget is too small for that one.
    """

    sample: QueueSample
    conditions: Conditions
    limits: Mapping[Endpoint, EndpointBudget]
    times: ProcessingTimes
    preview: Forecast
    preferred: Strategy


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
    yield f"processing  {_processing(report.times)}"
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


def reason(call: Call, report: PlanReport) -> str:
    """Return in words why a request is made."""
    request, at_ms = call.request, call.at_ms
    if isinstance(request, ListRequest):
        finished = finished_among(request, at_ms, report.times)
        next_come = ", retrieved next" if finished else ""
        return f"answers for {counted(len(request.tasks), 'task')}, about {finished} of them finished{next_come}"
    task, likely = request.task, f"{_percent(request.chance)} likely to have finished"
    if task.state is TaskState.READY:
        return f"ready, {_expiry(task, at_ms)}"
    if task.gone or task.invalid:
        return "the last answer about it must be confirmed"
    if not request.is_question:
        return _why_straight_away(request.chance, task, at_ms, report.conditions.strategy)
    if request.endpoint is Endpoint.RETRIEVE:
        return f"{likely}: a retrieval costs no more than asking"
    if report.conditions.strategy is Strategy.STATUS:
        return f"{likely}, and strategy status asks about each task singly"
    if not task.is_dated:
        return f"{likely}, and its page of the list is unknown"
    return f"{likely}, and no other task is near it in the list"


def _why_straight_away(chance: float, task: Task, at_ms: int, strategy: Strategy) -> str:
    if strategy is Strategy.AUTO and chance >= SURE:
        return f"{_percent(chance)} likely to have finished, so asking first would cost more"
    if strategy is Strategy.AUTO and not task.is_dated:
        return "its age is unknown, and a retrieval costs no more than asking"
    is_last = task.expires_at_ms - at_ms <= LAST_CHANCE_MS
    return f"{_expiry(task, at_ms)}: {'the last chance' if is_last else 'time to retrieve it in any case'}"


def _expiry(task: Task, at_ms: int) -> str:
    left = shown_duration(abs(task.expires_at_ms - at_ms) / 1000)
    return f"past its deadline for {left}" if task.is_past_deadline(at_ms) else f"expires in {left}"


def _percent(chance: float) -> str:
    # Never 100 %: the estimate may be wrong.
    return f"{min(99.9, 100 * chance):.{1 if chance > 0.995 else 0}f} %"


def _processing(times: ProcessingTimes) -> str:
    """Return in one line the learned processing times, or the assumed ones."""
    counts = Counter({key: sum(seen.finished) for key, seen in times.all_seen.items()})
    if counts[("", 0)] < 1:
        return f"{_median(times, None, 0)}: an assumption, nothing is learned yet"
    # Without any class, show the total.
    keys = [key for key, _ in counts.most_common() if key != ("", 0)][:MAX_CLASSES] or [("", 0)]
    shown = "; ".join(f"{_class(*key)}{_median(times, *key)}" for key in keys)
    return f"{shown}; learned from about {counts[('', 0)]:.0f} tasks"


def _class(model_name: str, minutes: int) -> str:
    length = f" up to {minutes} min" if minutes else ""
    return f"{model_name or 'any model'}{length} " if model_name or minutes else ""


def _median(times: ProcessingTimes, model_name: str | None, minutes: int) -> str:
    time = times.of(model_name, minutes * 60 or None)
    half, most = (shown_duration(time.age_of_chance_s(chance)) for chance in (0.5, 0.95))
    return f"half within {half}, 95 % within {most}"


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


def as_json(report: PlanReport) -> dict[str, Any]:
    """Return the forecast as a JSON object; times are Unix milliseconds."""
    sample, preview, budget = report.sample, report.preview, report.conditions.budget
    ahead = preview.feasibility
    return {
        "at_ms": sample.at_ms,
        "strategy": report.conditions.strategy.value,
        "budget": {
            "requests_per_s": budget.rate_per_s,
            "configured_per_s": budget.setting_per_s,
            "resumes_ms": budget.resumes_ms,
            "classes": {endpoint.value: asdict(limit) for endpoint, limit in report.limits.items()},
        },
        "queue": {
            "open": sample.open_tasks,
            "ready": sample.ready_due,
            "pending_due": sample.pending_due,
            "later": sample.later,
            "next_due_ms": sample.next_due_ms,
            "in_hand": sample.in_hand,
            "processes": sample.processes,
        },
        "todo": asdict(preview.todo) | {"is_exact": sample.each == 1},
        "calls": [_call_as_json(call, report) for call in preview.calls],
        "processing_times": _times_as_json(report.times),
        "expected": {
            "requests": round(preview.expected.requests),
            "retrievals": round(preview.expected.retrievals),
            "questions": round(preview.expected.questions),
            "finish_ms": preview.finish_ms,
        },
        "at_risk": ahead.at_risk,
        "beyond_saving": ahead.beyond_saving,
        "overdue": ahead.overdue,
        "needed_requests_per_s": ahead.needed_per_s,
        "first_loss_ms": ahead.first_loss_ms,
        "warning": deadline_warning(ahead),
    }


def _call_as_json(call: Call, report: PlanReport) -> dict[str, Any]:
    request = call.request
    shown: dict[str, Any] = {"at_ms": call.at_ms, "endpoint": request.endpoint.value, "reason": reason(call, report)}
    if isinstance(request, ListRequest):
        return shown | {
            "started_at_ms": request.query.started_at_ms,
            "ended_at_ms": request.query.ended_at_ms,
            "status": request.query.status,
            "task_ids": [task.task_id for task in request.tasks],
            "finished": finished_among(request, call.at_ms, report.times),
        }
    return shown | {
        "task_id": request.task.task_id,
        "expires_at_ms": request.task.expires_at_ms,
        "chance": request.chance,
        "is_question": request.is_question,
    }


def _times_as_json(times: ProcessingTimes) -> list[dict[str, Any]]:
    shown = []
    for model_name, minutes in {("", 0): None, **times.all_seen}:
        time, seen = times.of(model_name, minutes * 60 or None), times.all_seen.get((model_name, minutes))
        shown.append(
            {
                "model_name": model_name or None,
                "up_to_minutes": minutes or None,
                "median_s": time.age_of_chance_s(0.5),
                "p95_s": time.age_of_chance_s(0.95),
                "learned_of_tasks": sum(seen.finished) if seen else 0.0,
            }
        )
    return shown
