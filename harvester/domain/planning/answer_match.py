"""Check whether an answer is about the task that was asked about."""

from harvester.domain.planning.known_versions import KnownVersions
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.outcomes import (
    InvalidRequest,
    Misrouted,
    NotFound,
    Outcome,
    Refused,
    Retrieved,
    Transient,
    UnknownHere,
    misrouted,
)
from harvester.domain.tasks.task_id import is_same_id

VERSION_NOT_SERVED = "version_not_served"
"""The code of an answer that an API version is not available for this key."""

TASK_ID_INVALID = "task_id_invalid"
"""The code of an id that the client sends no request for."""

_NOT_SERVED = frozenset({403, 404, 405, 410, 426, 501})
"""HTTP statuses which show that an API version, or this call of it, is not available for this key."""

_UPGRADE_REQUIRED = "api_upgrade_required"
"""The API's code for the same, whatever the status."""

_NOTHING_KNOWN = KnownVersions()


def match_answer(
    request: TaskRequest, status: int | None, outcome: Outcome, known: KnownVersions = _NOTHING_KNOWN
) -> Outcome:
    """Return the meaning of an answer with that HTTP status to `request`; `known` are the known versions of tasks.

    A denial of the first version that is asked says nothing while the other has not answered. If a version is not
    available for the key, it does not know the task; but if neither is, that is a trouble of the key. A result that
    names another id is the task's only if it names that id again on a fresh connection.
    """
    if (denial := _denial(request, status, outcome, known)) is not None:
        return denial
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


def _denial(
    request: TaskRequest, status: int | None, outcome: Outcome, known: KnownVersions
) -> UnknownHere | NotFound | None:
    """Return what an answer means that an API version does not know the task, or is not available; None for others."""
    task, version = request.task, request.version
    is_first = version is not None and task.version is None and task.gone == 0
    if isinstance(outcome, NotFound | InvalidRequest):
        is_sent = outcome.code != TASK_ID_INVALID
        return UnknownHere(outcome.message, outcome.code) if is_first and is_sent else None
    if not isinstance(outcome, Transient | Refused):
        return None
    if status not in _NOT_SERVED and outcome.code != _UPGRADE_REQUIRED:
        return None
    if is_first and version is not None and not known.has(version):
        is_page = isinstance(outcome, Transient) and status == 403
        return None if is_page else UnknownHere(outcome.message, VERSION_NOT_SERVED)
    is_other_served = task.version is not None or task.error_code is not None
    is_other_served = is_other_served or (task.denied_by is not None and known.has(task.denied_by))
    return NotFound(outcome.message, outcome.code) if request.is_other_version and is_other_served else None
