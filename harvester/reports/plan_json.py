"""The forecast of a harvest as JSON."""

from dataclasses import asdict
from typing import Any

from harvester.domain.limits.pause import Pause
from harvester.domain.planning.next_requests import Call, finished_among
from harvester.domain.planning.planned_requests import ListRequest
from harvester.reports import processing_times
from harvester.reports.deadline_warning import deadline_warning
from harvester.reports.pause_text import pause_json
from harvester.reports.plan_report import PlanReport
from harvester.reports.request_reasons import reason


def as_json(report: PlanReport, pause: Pause | None = None) -> dict[str, Any]:
    """Return the forecast, which does not consider the pause, as a JSON object; times are Unix milliseconds."""
    sample, preview, budget = report.sample, report.preview, report.conditions.budget
    ahead = preview.feasibility
    return {
        "at_ms": sample.at_ms,
        "strategy": report.conditions.strategy.value,
        "paused": pause_json(pause),
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
        "processing_times": processing_times.as_json(report.times),
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
