"""Writes pages of the list, which are the same in both versions, and the part that they have in common with tasks."""

from typing import Any

import orjson

from harvester.simulator import rfc3339
from harvester.simulator.listing import Page
from harvester.simulator.metadata import listed_metadata
from harvester.simulator.tasks import SimulatedTask


def page_body(page: Page, now_ms: int) -> bytes:
    """Write the answer of `GET /embed/tasks` or `GET /embed-v2/tasks`."""
    return orjson.dumps(
        {
            "data": [entry(task, now_ms) for task in page.tasks],
            "page_info": {
                "limit_per_page": page.query.page_limit,
                "page": page.query.page,
                "total_page": page.total_page,
                "total_results": page.total_results,
            },
        }
    )


def entry(task: SimulatedTask, now_ms: int) -> dict[str, Any]:
    """Return a task as the list shows it."""
    return {
        "_id": task.task_id,
        **times(task, now_ms),
        "model_name": task.request.model.name,
        "status": task.status_at(now_ms),
        f"{task.request.medium}_embedding": {"metadata": listed_metadata(task)},
    }


def times(task: SimulatedTask, now_ms: int) -> dict[str, Any]:
    """Return `created_at` and `updated_at`; version 2 cuts zeros, and writes null for what it does not know.

    It has been seen to know no `updated_at` of documents, ready ones included.
    """
    is_finished = now_ms >= task.finished_at_ms
    if task.request.version == "v2":
        is_known = is_finished and task.request.medium != "document"
        updated = rfc3339.format_trimmed_ms(task.finished_at_ms) if is_known else None
        return {"created_at": rfc3339.format_trimmed_ms(task.created_at_ms), "updated_at": updated}
    created = {"created_at": rfc3339.format_ms(task.created_at_ms)}
    return created | {"updated_at": rfc3339.format_ms(task.finished_at_ms)} if is_finished else created
