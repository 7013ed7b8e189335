"""Parts of a harvest, and their options, as the settings say."""

import os
from collections.abc import Callable

from harvester.api.client import ClientSettings
from harvester.api.guarded_decoder import GuardedDecoder
from harvester.api.redaction import SecretGuard
from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.planner import Planner, PlannerSettings
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import DAY_MS, other_version
from harvester.service.account_lists import AccountLists
from harvester.service.decode_pool import Decoder
from harvester.service.discovery_range import Schedule
from harvester.service.run_options import RunOptions, StopWhen
from harvester.settings.addresses import may_hold_secret
from harvester.settings.ca_certificates import trusted
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import share_of
from harvester.settings.model import Settings
from harvester.settings.proxies import proxy_for


def decoder(settings: Settings, key: Callable[[], str], *, has_workers: bool = True) -> GuardedDecoder:
    """Return the pool of processes that decode bodies, guarded against answers that repeat the key.

    Without workers a thread decodes: a new process would import the main module of the program.
    """
    decoder = Decoder(settings.api.max_body_bytes, share_of(read_limits()).workers if has_workers else 0)
    return GuardedDecoder(decoder, SecretGuard(key), settings.api.max_body_bytes)


def planner(settings: Settings, until: StopWhen) -> Planner:
    """Return a planner that follows the configured strategy."""
    return Planner(
        PlannerSettings(
            strategy=Strategy(settings.harvest.strategy),
            versions=ApiVersions(settings.api.first_version, is_first_given=settings.api.version != "auto"),
            ask_every_task=until is StopWhen.ALL_ASKED,
            target_latency_s=settings.harvest.target_latency_s,
        )
    )


def run_options(settings: Settings, until: StopWhen, grace_s: float | None) -> RunOptions:
    """Return how to harvest; `grace_s` (seconds) replaces the configured grace time unless it is None."""
    return RunOptions(
        concurrency=settings.harvest.concurrency,
        lease_s=settings.harvest.lease_s,
        grace_s=settings.harvest.grace_s if grace_s is None else grace_s,
        until=until,
    )


def account_lists(settings: Settings) -> AccountLists:
    """Return the lists of both API versions, in the order in which they are read."""
    first = settings.api.first_version
    return AccountLists((first, other_version(first)))


def schedule(settings: Settings) -> Schedule | None:
    """Return how often and how far back to read the list; None if discovery is off."""
    wanted = settings.discovery
    return Schedule(wanted.every_s, round(wanted.since_days * DAY_MS)) if wanted.enabled else None


def rate_limit(settings: Settings) -> RateLimit:
    """Return the configured rate limit."""
    return RateLimit(settings.rate.requests_per_minute, settings.rate.burst)


def api_address(settings: Settings) -> str:
    """Return the setting with the API's address, and the address unless it may hold a secret."""
    url = settings.api.base_url
    return "api.base_url" if may_hold_secret(url) else f"api.base_url ({url})"


def client_settings(settings: Settings) -> ClientSettings:
    """Return how to reach the API. Raises UsageError for an unusable proxy or file of CA certificates."""
    api = settings.api
    # A URL without TLS is on this machine, and needs no certificate authorities.
    tls = trusted(os.environ).context if api.base_url.startswith("https:") else None
    return ClientSettings(
        base_url=api.base_url,
        version=api.first_version,
        connect_timeout_s=api.connect_timeout_s,
        read_timeout_s=api.read_timeout_s,
        max_body_bytes=api.max_body_bytes,
        proxy=proxy_for(api.base_url, os.environ),
        tls=tls,
    )
