"""Asks the daemon on this machine for its conditions: the lasting problems that the database does not show."""

import socket
from typing import Any

from pydantic import SecretStr

from harvester.settings.addresses import local_address
from harvester.settings.model import Settings

TIMEOUT_S = 1.0
_MAX_PAGE_BYTES = 1 << 20


def daemon_conditions(settings: Settings) -> dict[str, str]:
    """Return the conditions of the daemon that works on the same database, by name; none where no daemon answers."""
    if not settings.server.listen:
        return {}
    try:
        with socket.create_connection(local_address(settings.server.listen), TIMEOUT_S) as connection:
            page = _status_page(connection, settings.server.token)
    except (OSError, ValueError):
        return {}
    conditions = page.get("conditions")
    if not isinstance(conditions, dict) or page.get("database") != str(settings.store.path.resolve()):
        return {}
    return {str(name): str(text) for name, text in conditions.items()}


def _status_page(connection: socket.socket, token: SecretStr | None) -> dict[str, Any]:
    """Return the document of `/status.json`. Raises OSError, or ValueError for an answer of another form."""
    # Loaded only where something listens: they take longer than the rest of the command.
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415

    host, port = connection.getpeername()[:2]
    client = http.client.HTTPConnection(host, port)
    client.sock = connection
    try:
        client.request(
            "GET", "/status.json", headers={"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        )
        page = json.loads(client.getresponse().read(_MAX_PAGE_BYTES))
    except http.client.HTTPException as error:
        raise ValueError(str(error)) from None
    if not isinstance(page, dict):
        raise ValueError("no object")  # noqa: TRY004  # it is about a text, not about a type
    return page
