"""Check whether an answer is about the task that was asked about."""

from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.outcomes import Misrouted, NotFound, Outcome, Refused, Retrieved, Transient, misrouted
from harvester.domain.tasks.task_id import is_same_id

_NOT_SERVED = frozenset({403, 404, 405, 410, 501})
"""HTTP statuses which show that an API version, or this call of it, is not available for this key."""


def match_answer(request: TaskRequest, status: int | None, outcome: Outcome) -> Outcome:
    """Return the meaning of an answer with that HTTP status to `request`.

    The other API version is asked only whether it knows the task: if it is not available, it does not. A result that
    names another id is the task's only if it names that id again on a fresh connection.
    """
    if request.is_other_version and isinstance(outcome, Transient | Refused) and status in _NOT_SERVED:
        return NotFound(outcome.message, outcome.code)
    if not isinstance(outcome, Retrieved):
        return misrouted(outcome, request.task.task_id) or outcome
    received_id, task = outcome.embeddings.received_id, request.task
    if received_id is None:
        is_accepted = request.is_fresh
    else:
        is_repeated = request.is_fresh and task.other_id == received_id
        is_accepted = is_repeated or is_same_id(received_id, task.task_id)
    if is_accepted:
        return outcome
    named = f"names the id {received_id!a}" if received_id is not None else "names no id"
    message = f"The result {named}; it is asked for again on a new connection."
    return Misrouted(received_id or "", message)
