"""The JSON document of a status report, as `harvester status --json` prints it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.task_reports import StatusReport
from harvester.reports.deadline_warning import deadline_warning
from harvester.reports.pause_text import pause_json


def as_json(
    report: StatusReport, path: Path, feasibility: Feasibility, conditions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the report as a JSON document, with the forecast for the deadlines and the conditions of the daemon."""
    deadline = report.nearest_deadline
    return {
        "tasks": {state.value: count for state, count in report.counts.items()},
        "open": report.open,
        "nearest_deadline": deadline and {"task_id": deadline.task_id, "expires_at_ms": deadline.expires_at_ms},
        "paused": pause_json(report.pause),
        "budget": _budget_as_json(feasibility),
        "oldest_open": report.oldest_open_task_id
        and {"task_id": report.oldest_open_task_id, "added_at_ms": report.oldest_open_added_at_ms},
        "held_back": report.held
        and {
            "tasks": report.held.count,
            "task_id": report.held.example_task_id,
            "message": report.held.example_message,
        },
        "last_errors": [
            {
                "task_id": error.task_id,
                "state": error.state.value,
                "code": error.code,
                "message": error.message,
                "at_ms": error.at_ms,
            }
            for error in report.last_errors
        ],
        "without_model": {"results": report.model_gaps.results, "not_listed": report.model_gaps.asked},
        "stored": {
            "segments": report.segments,
            "video_s": report.video_seconds,
            "truncated": report.truncated,
            "incomplete": report.incomplete,
            "filtered": report.filtered,
        },
        "file": {
            "path": str(path),
            "bytes": report.file_bytes,
            "log_bytes": report.log_bytes,
            "free_bytes": report.free_bytes,
        },
        "throttle": {"blocked_until_ms": {endpoint.value: at for endpoint, at in report.blocked_until_ms.items()}},
        "conditions": dict(conditions),
    }


def _budget_as_json(feasibility: Feasibility) -> dict[str, Any]:
    return {
        "requests_per_s": feasibility.budget.rate_per_s,
        "needed_requests_per_s": feasibility.needed_per_s,
        "at_risk": feasibility.at_risk,
        "beyond_saving": feasibility.beyond_saving,
        "overdue": feasibility.overdue,
        "first_loss_ms": feasibility.first_loss_ms,
        "finish_ms": feasibility.finish_ms,
        "warning": deadline_warning(feasibility),
    }
