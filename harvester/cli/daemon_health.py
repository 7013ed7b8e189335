"""Asks the daemon on this machine for its health. It imports little: a container runs it every half minute."""

import http.client
import json
from typing import Any

from harvester.ports.check_result import Diagnosis, Verdict
from harvester.settings.addresses import local_address
from harvester.settings.model import Settings

TIMEOUT_S = 5.0
_MAX_PAGE_BYTES = 65_536
_NAME = "daemon"


def ask_daemon(settings: Settings) -> Diagnosis:
    """Ask the daemon on this machine for its health, with one local request."""
    listen = settings.server.listen
    if not listen:
        return Diagnosis(
            _NAME, Verdict.FAILURE, "server.listen is empty: the daemon serves no pages.", "Give it an address."
        )
    connection = http.client.HTTPConnection(*local_address(listen), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        status, body = response.status, response.read(_MAX_PAGE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Diagnosis(
            _NAME, Verdict.FAILURE, f"No answer from {listen}: {reason}.", "Is `harvester run` running? See its log."
        )
    finally:
        connection.close()
    page = _page(body)
    if status == 200 and page.get("status") == "ok":
        return Diagnosis(_NAME, Verdict.OK, f"healthy at {listen}")
    reasons = " ".join(map(str, page.get("reasons", ()))) or "Another program than the harvester listens there."
    return Diagnosis(
        _NAME, Verdict.FAILURE, f"{listen} answers {status}. {reasons}", "See the daemon's log; then restart it."
    )


def _page(body: bytes) -> dict[str, Any]:
    try:
        page = json.loads(body)
    except ValueError:
        return {}
    return page if isinstance(page, dict) else {}
