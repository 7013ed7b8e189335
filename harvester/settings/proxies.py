"""The proxy between this machine and the API, from the variables that HTTP clients read.

`https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` name it, in this order; `no_proxy` and `NO_PROXY` name the
hosts that are reached without it. The key is sent to an https address only, so it passes a proxy inside TLS. A plain
http address is one of this machine, and requests to this machine never use a proxy.
"""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from harvester.domain.errors import UsageError
from harvester.settings.addresses import is_this_machine

_NAMES = ("https_proxy", "all_proxy")
_EXEMPT = "no_proxy"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of the proxy, without credentials, and the variable that names it; `authorization` is its header."""

    url: str
    variable: str
    authorization: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that must not be shown: the password, also as it was written and as it is sent."""

    @property
    def host(self) -> str:
        """The name or address of the proxy."""
        return urlsplit(self.url).hostname or ""

    def __str__(self) -> str:
        return f"{self.url}{' (with credentials)' if self.authorization else ''}, from {self.variable}"


def proxy_for(base_url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for requests to `base_url`; None for a direct connection.

    Raises UsageError for a proxy that cannot be used; the error does not repeat the value.
    """
    target = urlsplit(base_url)
    host = (target.hostname or "").rstrip(".")
    if target.scheme != "https" or is_this_machine(host):
        return None
    if _is_exempt(host, target.port or _DEFAULT_PORTS["https"], _value(environ, _EXEMPT)[1]):
        return None
    for name in _NAMES:
        variable, value = _value(environ, name)
        if value:
            return _parse(variable, value)
    return None


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable in force and its value; the one in lower case overrides the other, also if it is empty."""
    variable = name if name in environ else name.upper()
    return variable, environ.get(variable, "").strip()


def _parse(variable: str, value: str) -> Proxy:
    remedy = f"Give {variable} as http://HOST:PORT, or exempt the API's host with NO_PROXY."
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port, scheme = parts.hostname, parts.port, parts.scheme.lower()
    except ValueError:
        raise UsageError(f"{variable} does not name a proxy: it is no URL.", remedy=remedy) from None
    if scheme.startswith("socks"):
        raise UsageError(f"{variable} names a SOCKS proxy, which is not supported.", remedy=remedy)
    if scheme not in _DEFAULT_PORTS or not host or not host.isascii():
        raise UsageError(f"{variable} does not name an HTTP proxy.", remedy=remedy)
    shown_host = f"[{host}]" if ":" in host else host
    authorization, secrets = _credentials(parts)
    return Proxy(f"{scheme}://{shown_host}:{port or _DEFAULT_PORTS[scheme]}", variable, authorization, secrets)


def _credentials(parts: SplitResult) -> tuple[str | None, tuple[str, ...]]:
    if parts.username is None:
        return None, ()
    user, password = unquote(parts.username), unquote(parts.password or "")
    token = b64encode(f"{user}:{password}".encode()).decode()
    return f"Basic {token}", tuple({one for one in (token, password, parts.password) if one})


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    return any(_matches(host, port, entry.lower()) for entry in re.split(r"[,\s]+", exempt) if entry)


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    with_port = re.fullmatch(r"(\[[^]]*\]|[^:]*):(\d{1,5})", entry)
    if with_port is not None:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.lstrip("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
