"""Checks addresses in the settings: the URL that the key is sent to, and the address to listen on."""

import ipaddress
from urllib.parse import urlsplit


def check_base_url(value: str) -> str:
    """Return `value` without trailing slashes. Raises ValueError with the reason, which does not repeat `value`."""
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError("a URL has no spaces, backslashes, control or non-ASCII characters")
    if may_hold_secret(value):
        raise ValueError("it must not contain user info ('@'), a query ('?') or a fragment ('#')")
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port  # reading the port checks it
    except ValueError as error:
        raise ValueError(f"it is no URL ({error})") from None
    if url.scheme not in {"http", "https"} or not host:
        raise ValueError("it takes a URL such as https://api.twelvelabs.io/v1.3")
    if url.scheme == "http" and not is_this_machine(host):
        raise ValueError("the key would be sent unencrypted; http is allowed to this machine only")
    return value.rstrip("/")


def may_hold_secret(value: str) -> bool:
    """Return whether a text meant as base URL has the parts in which people put passwords and tokens."""
    return not set("@?#").isdisjoint(value)


def split_address(value: str) -> tuple[str, int]:
    """Split `127.0.0.1:9464` or `[::1]:9464` into host and port. Raises ValueError with the reason."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is no address ({error})") from None
    if not host or port is None or parts.netloc != value or "@" in value:
        raise ValueError("it takes HOST:PORT, as in 127.0.0.1:9464")
    return host, port


def local_address(listen: str) -> tuple[str, int]:
    """Return host and port by which programs on this machine reach a server that listens at the address."""
    host, port = split_address(listen)
    # Who listens on every address is reachable on the loopback address.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104  # compared with, not listened on


def is_this_machine(host: str) -> bool:
    """Return whether only programs on this machine can reach that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
