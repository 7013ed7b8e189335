"""The checks of `harvester doctor`: each is a function that returns a verdict, its reason and the remedy."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import anyio

from harvester.app import ask_once
from harvester.cli.check_result import Diagnosis, Verdict
from harvester.domain.errors import StoreError, UsageError
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.tasks.outcomes import Outcome, Refused, Throttled
from harvester.ports.space import LARGE_LOG_BYTES, DiskForecast
from harvester.reports.error_codes import explain
from harvester.reports.formats import counted, shown_bytes, shown_duration
from harvester.settings.api_key import ApiKey, resolve_api_key
from harvester.settings.ca_certificates import trusted
from harvester.settings.machine import MIB, MachineLimits, read_limits
from harvester.settings.machine_defaults import excess, fitted, refuse_too_little, share_of
from harvester.settings.model import LoadedSettings, Settings
from harvester.settings.proxies import proxy_for
from harvester.store.sqlite.connection import exists, open_for_reading, translating_errors
from harvester.store.sqlite.disk_estimate import forecast
from harvester.store.sqlite.maintenance import release
from harvester.store.sqlite.maintenance.file_systems import LOCAL_DISK, mount_of
from harvester.store.sqlite.maintenance.probe import why_not_writable
from harvester.store.sqlite.migrations import applied_versions, load_migrations
from harvester.store.sqlite.write_ahead_log import log_bytes, log_path

MAX_SKEW_S = 60.0
MIN_FREE_BYTES = 64_000_000
"""Free space below which there is no room for the write-ahead log of one long video."""

_BETWEEN = {
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
        yield _sqlite()
        return
    settings = loaded.settings
    yield _settings(loaded)
    yield from _api(settings, environ, offline=offline)
    yield from _database(settings.store.path)
    yield _file_system(settings.store.path)
    yield _space(settings.store.path)
    yield _sqlite()
    yield _open_files(settings.harvest.concurrency)
    yield _memory(settings, limits)


def _settings(loaded: LoadedSettings) -> Diagnosis:
    changed = sorted(name for name, origin in loaded.origins.items() if not origin.startswith("default"))
    return Diagnosis("settings", Verdict.OK, f"{', '.join(changed)} set" if changed else "all at their defaults")


def _api(settings: Settings, environ: Mapping[str, str], *, offline: bool) -> Iterator[Diagnosis]:
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
            remedy = explain(answer.code).remedy if answer.code in _BETWEEN else ""
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


def _database(path: Path) -> Iterator[Diagnosis]:
    try:
        is_there = exists(path)
    except StoreError as error:
        yield Diagnosis("database", Verdict.FAILURE, error.sentence, error.remedy)
        return
    if not is_there:
        folder = path.absolute().parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            yield Diagnosis("database", Verdict.OK, f"{path} will be created")
        else:
            text = f"{path} cannot be created: its folder does not exist or is not writable."
            yield Diagnosis("database", Verdict.FAILURE, text, "Create it, or name another with --db or store.path.")
        return
    try:
        with translating_errors(path), closing(open_for_reading(path, any_age=True)) as connection:
            version, expected = max(applied_versions(connection)), forecast(connection)
    except StoreError as error:
        yield Diagnosis("database", Verdict.FAILURE, error.sentence, error.remedy)
        return
    problem = why_not_writable(path)
    if problem is not None:
        remedy = "Check the permissions of the file and its folder, and which programs have it open."
        yield Diagnosis("database", Verdict.FAILURE, problem, remedy)
        return
    newest = max(migration.version for migration in load_migrations())
    if version < newest:
        text = f"{path} has schema version {version}; the next command that writes upgrades it to {newest}."
        yield Diagnosis("database", Verdict.WARNING, text, "Make a backup first: `harvester backup FILE`.")
        return
    yield Diagnosis("database", Verdict.OK, f"{path} can be read and written, {expected.open_tasks} open tasks")


def _file_system(path: Path) -> Diagnosis:
    mount = mount_of(path)
    if mount is None:
        return Diagnosis("file system", Verdict.WARNING, "unknown: this system does not report it.", LOCAL_DISK)
    where = f"{mount.kind} at {mount.point}"
    if mount.is_network:
        text = f"{where} is a network file system, where SQLite's write-ahead log does not work."
        return Diagnosis("file system", Verdict.FAILURE, text, LOCAL_DISK)
    if mount.is_opaque:
        text = f"{where} hides what is behind it; SQLite needs a local disk and shared memory."
        return Diagnosis("file system", Verdict.WARNING, text, LOCAL_DISK)
    return Diagnosis("file system", Verdict.OK, where)


def _space(path: Path) -> Diagnosis:
    folder = next((parent for parent in path.absolute().parents if os.access(parent, os.X_OK)), Path("/"))
    free = shutil.disk_usage(folder).free
    expected = _forecast(path)
    needed = expected.bytes
    basis = "the mean of the stored tasks" if expected.is_measured else "an hour of video each"
    queue = f"{expected.open_tasks} open tasks will need {shown_bytes(needed)} ({basis})" if needed else "no open tasks"
    log = log_bytes(path)
    text = f"{shown_bytes(free)} free, the write-ahead log takes {shown_bytes(log)}; {queue}"
    remedy = "Free some space, or move the database to a larger disk (docs/howto/operations.md)."
    if free < MIN_FREE_BYTES:
        return Diagnosis("space", Verdict.FAILURE, f"{text}.", remedy)
    if free < 2 * needed:
        return Diagnosis("space", Verdict.WARNING, f"{text}: less than twice that is left.", remedy)
    if log >= LARGE_LOG_BYTES:
        text += "; the log grows while another program keeps a read transaction open."
        remedy = f"End that transaction: `fuser {log_path(path)}` names the processes that have the log open."
        return Diagnosis("space", Verdict.WARNING, text, remedy)
    return Diagnosis("space", Verdict.OK, text)


def _forecast(path: Path) -> DiskForecast:
    try:
        with translating_errors(path), closing(open_for_reading(path, any_age=True)) as connection:
            return forecast(connection)
    except StoreError:
        # The line about the database has reported it.
        return DiskForecast(open_tasks=0, bytes_each=0, is_measured=False)


def _sqlite() -> Diagnosis:
    version = sqlite3.sqlite_version_info
    shown = release.shown(version)
    if release.is_too_old(version):
        oldest = release.shown(release.OLDEST)
        return Diagnosis("SQLite", Verdict.FAILURE, f"{shown} is older than {oldest}.", "Use a newer Python or system.")
    if release.may_lose_wal_reset(version):
        text = (
            f"{shown} has the WAL-reset bug, unless your distribution has fixed it: two connections that write or "
            "checkpoint at the same instant can, very rarely, damage the database."
        )
        remedy = (
            "Use SQLite 3.51.3 or newer (or 3.50.7, 3.44.6); until then let one process at a time write, "
            "and make backups with `harvester backup`."
        )
        return Diagnosis("SQLite", Verdict.WARNING, text, remedy)
    return Diagnosis("SQLite", Verdict.OK, shown)


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
