"""`harvester config`: the settings in effect."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harvester.cli.console import print_json, print_report
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.reports.formats import shown_duration
from harvester.settings.api_key import resolve_api_key
from harvester.settings.ca_certificates import trusted
from harvester.settings.machine import MIB, read_limits
from harvester.settings.machine_defaults import fitted
from harvester.settings.model import EVERYTHING, Settings, load_settings
from harvester.settings.proxies import proxy_for

_MINUTE_S = 60

_MEANINGS = {("rate.requests_per_minute", 0): "unlimited", ("server.listen", ""): "off"}
"""Values that stand for something else than a number or an address."""


def config(config: ConfigFile = None, db: Database = None, *, json: AsJson = False) -> None:
    """Print the settings in effect.

    Each has its value, large ones also in minutes or MiB, and its source. The API key is not shown.

    Example: harvester config --db tasks.db --json
    """
    limits = read_limits()
    loaded = fitted(load_settings(config, {"store": {"path": db}}), limits)
    values = loaded.settings.flat()
    key = _describe_key(loaded.settings)
    proxy, authorities = (
        _describe_proxy(loaded.settings, os.environ),
        _describe_authorities(loaded.settings, os.environ),
    )
    if json:
        settings = {name: {"value": value, "from": loaded.origins[name]} for name, value in values.items()}
        print_json(
            {
                "settings": settings,
                "api_key": key,
                "proxy": proxy,
                "ca_certificates": authorities,
                "machine": asdict(limits),
            }
        )
        return
    shown = {name: _shown(name, value) for name, value in values.items()}
    name_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
    for name, value in shown.items():
        print_report(f"{name:{name_width}}  {value:{value_width}}  {loaded.origins[name]}")
    print_report(f"{'API key':{name_width}}  {key}")
    print_report(f"{'proxy':{name_width}}  {proxy}")
    print_report(f"{'CA certificates':{name_width}}  {authorities}")
    memory = "unknown" if limits.memory_bytes is None else f"{limits.memory_bytes // MIB} MiB by {limits.memory_limit}"
    print_report(f"{'memory':{name_width}}  {memory}")
    print_report(f"{'processors':{name_width}}  {limits.processors}")


def _shown(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or EVERYTHING
    if value is None:
        return "not set"
    meaning = _MEANINGS.get((name, value)) or _in_human_units(name, value)
    return f"{value} ({meaning})".lstrip() if meaning else str(value)


def _in_human_units(name: str, value: Any) -> str | None:
    """Return a large number of seconds or bytes, by the unit in its name, as people say it; else None."""
    if name.endswith("_bytes") and value >= MIB:
        return f"{value / MIB:,.6g} MiB"
    if name.endswith("_s") and value >= _MINUTE_S:
        return shown_duration(value)
    return None


def _describe_key(settings: Settings) -> str:
    """Describe the key, or the problem with it: this command helps to find the problem, so it does not fail."""
    try:
        return resolve_api_key(settings, os.environ).masked()
    except UsageError as error:
        return str(error)


def _describe_proxy(settings: Settings, environ: Mapping[str, str]) -> str:
    """Describe the proxy in force, without its credentials, or the problem with it."""
    try:
        proxy = proxy_for(settings.api.base_url, environ)
    except UsageError as error:
        return str(error)
    return "none" if proxy is None else str(proxy)


def _describe_authorities(settings: Settings, environ: Mapping[str, str]) -> str:
    """Describe the certificate authorities in force, or the problem with them."""
    if not settings.api.base_url.startswith("https:"):
        return "not needed: api.base_url is plain http on this machine"
    try:
        return trusted(environ).described
    except UsageError as error:
        return str(error)
