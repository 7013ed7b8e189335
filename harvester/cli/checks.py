"""The checks of `harvester doctor`: each is a function that returns a verdict, its reason and the remedy."""

import resource
from collections.abc import Callable, Iterator, Mapping

import anyio

from harvester.app.key_check import ask_once
from harvester.app.stores import check_store_engine, open_maintenance
from harvester.domain.errors import UsageError
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.tasks.outcomes import Outcome, Refused, Throttled
from harvester.ports.check_result import Diagnosis, Verdict
from harvester.reports.error_codes import explain
from harvester.reports.formats import counted, shown_duration
from harvester.settings.api_key import ApiKey, resolve_api_key
from harvester.settings.ca_certificates import trusted
from harvester.settings.machine import MIB, MachineLimits, read_limits
from harvester.settings.machine_defaults import excess, fitted, refuse_too_little, share_of
from harvester.settings.model import LoadedSettings, Settings
from harvester.settings.proxies import proxy_for

MAX_SKEW_S = 60.0

_EXPLAINED = {
    "api_upgrade_required",
    "blocked_by_proxy",
    "machine_refuses",
    "network_login_required",
    "proxy_auth_required",
    "proxy_refused",
    "proxy_unreachable",
    "tls_failed",
}
"""Codes whose own remedy is better than the general one: something between this machine and the API has answered."""

SPARE_FILES = 64
"""Open files besides the connections to the API: the database, worker processes, pages, libraries."""


def diagnose(load: Callable[[], LoadedSettings], environ: Mapping[str, str], *, offline: bool) -> Iterator[Diagnosis]:
    """Yield the results of all checks. Most need the settings, which `load` reads. Sends one request to the API."""
    limits = read_limits()
    try:
        loaded = fitted(load(), limits)
    except UsageError as error:
        yield Diagnosis("settings", Verdict.FAILURE, error.sentence, error.remedy)
        yield check_store_engine()
        return
    settings = loaded.settings
    yield _settings(loaded)
    yield from check_api(settings, environ, offline=offline)
    yield from open_maintenance(settings.store.path).diagnose()
    yield _open_files(settings.harvest.concurrency)
    yield _memory(settings, limits)


def _settings(loaded: LoadedSettings) -> Diagnosis:
    changed = sorted(name for name, origin in loaded.origins.items() if not origin.startswith("default"))
    return Diagnosis("settings", Verdict.OK, f"{', '.join(changed)} set" if changed else "all at their defaults")


def check_api(settings: Settings, environ: Mapping[str, str], *, offline: bool) -> Iterator[Diagnosis]:
    """Yield whether this machine reaches the API and the API accepts the key. Sends one request, `offline` none."""
    way = list(_way(settings.api.base_url, environ))
    yield from way
    try:
        key = resolve_api_key(settings, environ)
    except UsageError as error:
        yield Diagnosis("key", Verdict.FAILURE, error.sentence, error.remedy)
        return
    if any(one.verdict is Verdict.FAILURE for one in way):
        yield Diagnosis("key", Verdict.WARNING, f"{key.masked()}; not tried, see above.", "Fix that first.")
        return
    if offline:
        yield Diagnosis("key", Verdict.OK, f"{key.masked()}; not tried (--offline)")
        return
    answer, skew_s = anyio.run(ask_once, settings, key.reveal)
    yield _key(answer, key, settings.api.base_url)
    if skew_s is not None or isinstance(answer, ListPage):
        yield _clock(skew_s)


def _way(base_url: str, environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Check the proxy between this machine and the API, and the certificate authorities."""
    try:
        proxy = proxy_for(base_url, environ)
        yield Diagnosis("proxy", Verdict.OK, "none" if proxy is None else str(proxy))
    except UsageError as error:
        yield Diagnosis("proxy", Verdict.FAILURE, error.sentence, error.remedy)
    if not base_url.startswith("https:"):
        return
    try:
        trust = trusted(environ)
    except UsageError as error:
        yield Diagnosis("CA certificates", Verdict.FAILURE, error.sentence, error.remedy)
        return
    if trust.is_empty:
        remedy = "Install the package ca-certificates, or name a file with SSL_CERT_FILE."
        yield Diagnosis("CA certificates", Verdict.FAILURE, f"there are none: {trust.described}.", remedy)
    else:
        yield Diagnosis("CA certificates", Verdict.OK, trust.described)


def _key(answer: ListPage | Outcome, key: ApiKey, base_url: str) -> Diagnosis:
    match answer:
        case ListPage():
            return Diagnosis("key", Verdict.OK, f"{key.masked()}; {base_url} accepts it")
        case Refused(message, code):
            text = f"{base_url} refuses the key: {message.rstrip('.')} ({code})."
            return Diagnosis("key", Verdict.FAILURE, text, f"Check {key.source}, and whether the key has expired.")
        case Throttled(message, retry_after_s):
            wait = "" if retry_after_s is None else f", for {shown_duration(retry_after_s)}"
            text = f"not tested: the API accepts no requests now{wait} ({message.rstrip('.')})."
            return Diagnosis("key", Verdict.WARNING, text, "Wait; `harvester run` and `backfill` do so by themselves.")
        case _:
            message = "an unexpected answer" if answer.message is None else answer.message
            text = f"{base_url} cannot be asked: {message.rstrip('.')}."
            remedy = explain(answer.code).remedy if answer.code in _EXPLAINED else ""
            remedy = remedy or "Check api.base_url, the network, name lookup and proxies."
            return Diagnosis("key", Verdict.FAILURE, text, remedy)


def _clock(skew_s: float | None) -> Diagnosis:
    if skew_s is None:
        return Diagnosis("clock", Verdict.WARNING, "not compared: the API's answer has no date")
    if abs(skew_s) <= MAX_SKEW_S:
        return Diagnosis("clock", Verdict.OK, f"within {max(1, round(abs(skew_s)))} s of the API's")
    side = "ahead of" if skew_s > 0 else "behind"
    text = f"{shown_duration(abs(skew_s))} {side} the API's."
    return Diagnosis(
        "clock", Verdict.WARNING, text, "Set it with NTP: a harvest uses the API's time, other commands this clock."
    )


def _open_files(concurrency: int) -> Diagnosis:
    # A harvest raises its soft limit to the hard limit.
    soft, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = concurrency + SPARE_FILES
    if limit == resource.RLIM_INFINITY:
        return Diagnosis("open files", Verdict.OK, "not limited")
    raised = f", raised from {soft} for a harvest" if soft != limit else ""
    text = f"{limit} may be open{raised}; harvest.concurrency = {concurrency} needs up to {needed}"
    if limit < needed:
        remedy = f"Raise the hard limit (`ulimit -Hn {needed}`, LimitNOFILE=), or lower harvest.concurrency."
        return Diagnosis("open files", Verdict.FAILURE, f"{text}.", remedy)
    return Diagnosis("open files", Verdict.OK, text)


def _memory(settings: Settings, limits: MachineLimits) -> Diagnosis:
    try:
        refuse_too_little(limits)
    except UsageError as error:
        return Diagnosis("memory", Verdict.FAILURE, error.sentence, error.remedy)
    too_much = excess(settings, limits)
    if too_much is not None:
        remedy = "Lower it, leave it out for a default that fits, or raise the limit."
        return Diagnosis("memory", Verdict.WARNING, too_much, remedy)
    if limits.memory_bytes is None:
        return Diagnosis("memory", Verdict.WARNING, "unknown: this system does not report it.")
    harvest, workers = settings.harvest, share_of(limits).workers
    text = (
        f"{limits.memory_bytes // MIB} MiB by {limits.memory_limit}, {counted(limits.processors, 'processor')}; "
        f"harvest.memory_budget_bytes = {harvest.memory_budget_bytes}, harvest.concurrency = {harvest.concurrency}, "
        f"{workers or 'no'} separate process{'' if workers == 1 else 'es'} for decoding"
    )
    return Diagnosis("memory", Verdict.OK, text)
