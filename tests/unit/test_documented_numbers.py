"""A document that repeats a constant of the program says what the program has; every other quantity has its reason."""

import re
from pathlib import Path

import pytest

from harvester.api.decode.body import EXCERPT_CHARACTERS
from harvester.api.redaction import SECRET_CHARACTERS
from harvester.cli import library_logs
from harvester.cli.daemon import GRACE_S
from harvester.cli.streams import MAX_WAITING_BYTES
from harvester.domain.limits.aimd import CUT
from harvester.domain.limits.quotas import RESERVE_SHARE
from harvester.domain.planning.api_versions import GONE_ANSWERS
from harvester.domain.planning.decisions import INVALID_DOWNLOADS
from harvester.domain.planning.list_reader import PAGE_LIMIT
from harvester.domain.planning.model_lookup import MANY, SHORTEST_WAIT_MS
from harvester.domain.tasks.dead_letter import MAX_PAYLOAD_BYTES
from harvester.domain.tasks.task import DAY_MS, NEVER_ANSWERED_MS, RETENTION_MS
from harvester.domain.tasks.task_id import MAX_LENGTH
from harvester.domain.tasks.wholeness import SHORTEST_CLIP_S
from harvester.ports.maintenance import ATTEMPTS_KEPT_MS
from harvester.ports.space import LARGE_LOG_BYTES, LOG_BYTES
from harvester.service import deadline_monitor
from harvester.service.clock import AGREEING, OFF_S, SAMPLES
from harvester.service.model_lookup import MAX_PAUSE_S, PAUSE_S
from harvester.service.progress import RATE_WINDOW_S
from harvester.settings.machine_defaults import BASE_BYTES, LEAST_BYTES, WORKER_BYTES
from harvester.settings.model import Settings
from harvester.simulator.failures import FAILURES
from harvester.simulator.layout import SCENE_S
from harvester.simulator.topics import SHARE, TOPICS
from harvester.store.sqlite.maintenance.sqlite_version import may_lose_wal_reset
from harvester.store.sqlite.store import BUSY_TIMEOUT_S
from harvester.web.connections import MAX_CONNECTIONS, MAX_REQUEST_BYTES, REQUEST_S
from harvester.web.health import STUCK_AFTER_S

ROOT = Path(__file__).parents[2]

WORDS = {2: "two", 3: "three", 5: "five", 6: "six", 7: "seven", 10: "ten"}
PERIODS = {60.0: "minute"}

QUANTITY = re.compile(
    r"\b(?!429s)(?:\d[\d,.]*|(?:two|three|four|five|six|seven|eight|nine|ten|twelve|thirty|sixty))[ -]?"
    r"(?:s|ms|min|h|seconds?|minutes?|hours?|days?|[KMG]iB|[kMG]B|bytes|characters|connections|downloads|answers)\b"
)


def mib(size: int) -> str:
    return f"{size // 1024**2} MiB"


def kib(size: int) -> str:
    return f"{size // 1024} KiB"


def found(pattern: str, file: str) -> str:
    match = re.search(pattern, (ROOT / file).read_text("utf-8"))
    assert match is not None
    return match[1]


DAYS_KEPT = f"{WORDS[RETENTION_MS // DAY_MS]} days"
DOWNLOADS = f"{WORDS[INVALID_DOWNLOADS]} downloads"
NEVER_ANSWERED = f"{NEVER_ANSWERED_MS // DAY_MS} days"
ID_LENGTH = f"letters, digits, {{mark}}-{{mark}} and {{mark}}_{{mark}}, {MAX_LENGTH} at most"
KEPT_BODY = mib(MAX_PAYLOAD_BYTES)
SHORT_KEY = f"A key of fewer than {SECRET_CHARACTERS} characters"
LISTEN = f"`{Settings().server.listen}` by default"
GRACE = f"{GRACE_S:g} s"
USER = "uid " + found(r"useradd --uid (\d+)", "Dockerfile")
CHECKED_EVERY_S = found(r"HEALTHCHECK --interval=(\d+)s", "Dockerfile")
STOPPED_AFTER_S = found(r"TimeoutStopSec=(\d+)", "docs/harvester.service")
STOPPED_AFTER = found(r"stop_grace_period: (\S+)", "compose.yaml")

HELD: dict[str, list[str]] = {
    "README.md": [
        f"keeps embeddings for {DAYS_KEPT}",
        f"dropped by the platform after {DAYS_KEPT}",
        f"made in the last {DAYS_KEPT}",
        f"{DOWNLOADS} could not be stored",
        f"cut to {CUT:g} of what it was",
        f"The last {'tenth' if RESERVE_SHARE == 1 / 10 else '?'} of a quota",
        f"runs as {USER}",
    ],
    "docs/quickstart.md": [f"made in the last {DAYS_KEPT}"],
    "docs/glossary.md": [f"{DAYS_KEPT} after the task was made"],
    "docs/faults.md": [
        f"after {NEVER_ANSWERED} `expired`",
        SHORT_KEY,
        f"time-out is {BUSY_TIMEOUT_S:g} s, so 30 s are {WORDS[int(30 / BUSY_TIMEOUT_S)]} time-outs",
    ],
    "docs/howto/operations.md": [
        f"the condition `database` after {BUSY_TIMEOUT_S:g} s",
        f"runs as {USER}",
        f"every {CHECKED_EVERY_S} s: one request",
        f"at most {GRACE} in the daemon, {Settings().harvest.grace_s:g} s in `backfill`",
        f"TimeoutStopSec={STOPPED_AFTER_S}`",
        f"stop_grace_period: {STOPPED_AFTER}`",
        f"fit into {kib(MAX_WAITING_BYTES)} are dropped",
        f"logged once a {PERIODS[library_logs.EVERY_S]}",
        f"about {mib(BASE_BYTES)}, {mib(WORKER_BYTES)} for each process",
        f"Below {mib(LEAST_BYTES)} a harvest does not start",
        f"At most {MAX_CONNECTIONS} connections",
        f"within {REQUEST_S:g} s, or whose answer is not read within another {REQUEST_S:g} s",
        f"may have {kib(MAX_REQUEST_BYTES)}",
        f"has their embeddings ({DAYS_KEPT})",
        f"at most {KEPT_BODY}. Add the write-ahead log",
        f"({mib(2 * LOG_BYTES)} and more)",
        f"when it has {mib(LOG_BYTES)}",
        f"from {mib(LARGE_LOG_BYTES)} on",
        f"{WORDS[AGREEING]} of the last {WORDS[SAMPLES]} answers agree",
        f"more than a {PERIODS[OFF_S]} wrong",
        f"Until {WORDS[AGREEING]} answers have come",
    ],
    "docs/howto/models.md": [
        f"names up to {PAGE_LIMIT} results",
        f"at least {MANY} results",
        f"one for {MANY} other requests",
        "or for an hour",
        "after an hour, and",
        f"for a {PERIODS[SHORTEST_WAIT_MS / 1000]} only",
        f"the {DAYS_KEPT} of a task are over",
        f"A day before the {DAYS_KEPT}",
        f"after {WORDS[round(PAUSE_S / 60)]} minutes",
        f"once in {WORDS[round(MAX_PAUSE_S / 3600)]} hours",
        f"until the {DAYS_KEPT} are over",
        f"Past the {DAYS_KEPT}",
        "again after an hour",
    ],
    "docs/howto/monitoring.md": [LISTEN, f"worked for {STUCK_AFTER_S / 60:g} minutes"],
    "docs/howto/rehearse.md": [
        f"answers {DAYS_KEPT} later",
        f"topic for {SCENE_S:g} seconds",
        f"cosine of about {SHARE:g}",
        f"one of these words: {', '.join(TOPICS)}.",
        f"one of these: {', '.join(f'`{name}`' for name in FAILURES)}.",
    ],
    "docs/howto/security.md": [
        ID_LENGTH.format(mark="`"),
        SHORT_KEY,
        f"first {EXCERPT_CHARACTERS} characters",
        LISTEN,
    ],
    "docs/howto/troubleshooting.md": [
        ID_LENGTH.format(mark="'"),
        f"drops embeddings after {DAYS_KEPT}",
        f"{WORDS[GONE_ANSWERS]} answers said so",
        f"or {DOWNLOADS} could not be stored",
        f"After {DOWNLOADS}",
        f"as gzip, up to {KEPT_BODY}",
        f"first {KEPT_BODY}",
        f"also after {DAYS_KEPT}",
        f"if its {DAYS_KEPT} are not over",
        f"ever more rarely, for {NEVER_ANSWERED}",
        f"for {NEVER_ANSWERED} after its deadline",
        f"or dropped after {DAYS_KEPT}",
        f"After {DAYS_KEPT} embed",
        f"keeps embeddings for {DAYS_KEPT}",
        f"a gap of {WORDS[int(SHORTEST_CLIP_S)]} seconds or more",
        f"shorter than {WORDS[int(SHORTEST_CLIP_S)]} seconds",
    ],
    "docs/reference/database.md": [f"after {ATTEMPTS_KEPT_MS // DAY_MS} days"],
    "docs/reference/json.md": [
        f"older than {ATTEMPTS_KEPT_MS // DAY_MS} days",
        f"over the last {PERIODS[RATE_WINDOW_S]}",
    ],
    "docs/reference/log.md": [f"the same one once a {PERIODS[library_logs.EVERY_S]}"],
    "docs/reference/metrics.md": [
        f"computed once a {PERIODS[deadline_monitor.CHECK_EVERY_S]}",
        f"about {mib(LOG_BYTES)} at most",
        f"within {DAY_MS // 3_600_000} h",
    ],
    "compose.yaml": [f"the {GRACE} in which", f"{USER} must be able"],
    "docs/harvester.service": [f"within {GRACE}"],
}
"""The sentences that repeat a constant, by document."""

OTHER: dict[str, list[str]] = {
    "README.md": [
        "[--for 2h]",
        "95 % of the results are stored within 14 s",
        "Python waits 5 s",
        "`make test` takes 6 minutes, and `make test-all` 15",
    ],
    "docs/faults.md": [
        "by another program for 30 s",
        "10,000 characters",
        "128 MB, 64 MB containers",
        "three Ctrl-C in 15 ms",
        "three connections, then the other API version",
        "in the test it is 0.2 s",
        "a real volume of 24 MB",
    ],
    "docs/quickstart.md": ["ten minutes"],
    "docs/dependencies.md": ["46 MB of numbers", "170 MB"],
    "docs/howto/export.md": [],
    "docs/howto/library.md": ["ten minutes"],
    "docs/howto/python.md": [],
    "docs/reference/python.md": ["12h"],
    "docs/howto/operations.md": [
        "128 MiB were enough for videos of 20 minutes, and 192 MiB for four hours",
        "clips of 6 s",
        "clips of 10 s",
        "clock is 9 days ahead",
        "5 s are the default",
        "With 1.2 GB that took 2 to 8 s on",
        "two connections that write",
    ],
    "docs/reference/database.md": ["4 or 8 bytes a number"],
    "docs/howto/deploy.md": [],
    "compose.yaml": [f"stop_grace_period: {STOPPED_AFTER}"],
}
"""Quantities that are no constant of the program: tests, measurements, examples, and what other programs do."""

PAGES = sorted({*HELD, *OTHER, "CONTRIBUTING.md"})


def text(page: str) -> str:
    """Return the page in one line, without examples in fences, marks of comments, and the sizes in tables."""
    whole = re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    prose = re.sub(r"^( *#+ )", "", whole, flags=re.MULTILINE)
    return re.sub(r"\| [\d.]+ MB (?=\|)", "", " ".join(prose.split()))


@pytest.mark.parametrize(("page", "sentence"), [(page, one) for page in HELD for one in HELD[page]])
def test_a_number_is_that_of_the_program(page: str, sentence: str) -> None:
    assert sentence in text(page)


@pytest.mark.parametrize("page", PAGES)
def test_every_quantity_is_held_or_no_constant(page: str) -> None:
    rest = text(page)
    for sentence in (*HELD.get(page, ()), *OTHER.get(page, ())):
        rest = rest.replace(sentence, "")

    assert QUANTITY.findall(rest) == []


def test_every_page_of_prose_is_checked() -> None:
    """The tables of commands and settings are the program's own words: test_reference.py compares them."""
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}

    assert pages - set(PAGES) == {"docs/reference/commands.md", "docs/reference/settings.md"}


def test_the_releases_of_sqlite_are_those_that_doctor_warns_of() -> None:
    sentence = re.search(r"SQLite before (\S+) \(except (\S+) and (\S+)\)", text("docs/howto/operations.md"))
    assert sentence is not None
    fixed = [(int(a), int(b), int(c)) for a, b, c in (release.split(".") for release in sentence.groups())]

    assert [may_lose_wal_reset(release) for release in fixed] == [False, False, False]
    assert [may_lose_wal_reset((a, b, c - 1)) for a, b, c in fixed] == [True, True, True]
