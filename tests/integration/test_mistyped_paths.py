"""A path with a typing error is named in one sentence, and no command makes a file there or elsewhere."""

import pytest

from tests.support.shell import Shell
from tests.support.thorough import thorough

AN_ID = "66f537778d9641fe5a0d101f"

CASES: list[tuple[int, list[str]]] = [
    (4, ["backfill", "--db", "typo.db"]),
    (4, ["retry", AN_ID, "--db", "typo.db"]),
    (4, ["backup", "copy.db", "--db", "typo.db"]),
    (4, ["verify", "--deep", "--repair", "--db", "typo.db"]),
    (4, ["add", AN_ID, "--db", "typo/h.db"]),
    (4, ["discover", "--db", "typo/h.db"]),
    (2, ["run", "--config", "typo.toml"]),
    (2, ["retry", "--file", "typo.txt"]),
]
"""Exit code and command line."""

OTHER_CASES: list[tuple[int, list[str]]] = [
    *((4, [name, "--db", "typo.db"]) for name in ("plan", "status", "verify")),
    (4, ["show", AN_ID, "--db", "typo.db"]),
    *((4, [name, "--db", "typo/h.db"]) for name in ("migrate", "run")),
    (4, ["backfill", AN_ID, "--db", "typo/h.db"]),
    (2, ["init", "--offline", "--requests-per-minute", "1", "--db", "typo/h.db"]),
    *(
        (2, [name, "--config", "typo.toml"])
        for name in ("backfill", "config", "discover", "migrate", "plan", "status", "verify")
    ),
    (2, ["add", AN_ID, "--config", "typo.toml"]),
    *((2, [name, "--file", "typo.txt"]) for name in ("add", "backfill")),
    (2, ["import", "typo.json"]),
    (2, ["simulate", "--port", "0", "--faults", "typo.toml"]),
]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [*CASES, *(pytest.param(*case, marks=thorough) for case in OTHER_CASES)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistyped_path_makes_no_file(code: int, arguments: list[str], shell: Shell) -> None:
    # No command gets as far as a request; if one did, this address would refuse it.
    shell.talks_to("http://127.0.0.1:1/v1.3")

    ended = await shell.run(*arguments)

    assert ended.code == code, ended.stderr
    assert ended.last_line.startswith("harvester: ")
    assert "typo" in ended.last_line
    assert list(shell.folder.iterdir()) == []
