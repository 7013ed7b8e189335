from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from harvester.domain.errors import UsageError
from harvester.simulator import Fault, SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.faults import FaultSchedule
from harvester.simulator.faults.files import _TYPES, load_faults
from harvester.simulator.faults.kinds import KINDS
from harvester.simulator.faults.model import FAULT

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "faults.example.toml"


class Rehearsal:
    """A schedule on a stopped clock, asked as the server asks it."""

    def __init__(self, *faults: Fault) -> None:
        self.clock = SimulatorClock(1_700_000_000, speed=0)
        self.schedule = FaultSchedule(faults, self.clock, Catalogue(SimulatorSettings(), self.clock))

    def ask(self, task_id: str = "a", endpoint: str = "retrieve") -> Any:
        request = make_mocked_request("GET", "/")
        request._match_info = _Match({"task_id": task_id}, endpoint)  # type: ignore[assignment]
        return self.schedule.spoil(request, web.Response(body=b"{}")).get(FAULT)


class _Match(dict[str, str]):
    def __init__(self, values: dict[str, str], name: str) -> None:
        super().__init__(values)
        self.route = type("Route", (), {"name": name})


def test_a_rule_hits_the_part_of_the_requests_that_it_says() -> None:
    rehearsal = Rehearsal(Fault(kind="null", rate=0.25))
    hits = [rehearsal.ask(str(number % 50)) for number in range(600)].count("null")
    assert 120 <= hits <= 180
    assert rehearsal.schedule.served == {"null": hits}


def test_what_is_hit_depends_on_the_seed_and_not_on_what_happens_beside_it() -> None:
    def hits(order: list[str], seed: int = 1) -> list[tuple[str, Any]]:
        rehearsal = Rehearsal(Fault(kind="null", rate=0.5, seed=seed))
        return sorted((one, str(rehearsal.ask(one))) for one in order)

    order = [str(number % 20) for number in range(200)]
    assert hits(order) == hits(sorted(order))
    assert hits(order) != hits(order, seed=2)


def test_the_first_rule_that_hits_is_served() -> None:
    rehearsal = Rehearsal(Fault(kind="null", tasks=("b",)), Fault(kind="page"), Fault(kind="list"))
    assert (rehearsal.ask("a"), rehearsal.ask("B")) == ("page", "null")


def test_a_rule_is_for_the_calls_that_it_names() -> None:
    rehearsal = Rehearsal(Fault(kind="null", endpoints=("status",)))
    assert [rehearsal.ask(endpoint=one) for one in ("status", "retrieve", "list", "create")] == [
        "null",
        None,
        None,
        None,
    ]


def test_a_share_of_the_tasks_is_hit_for_good() -> None:
    rehearsal = Rehearsal(Fault(kind="null", share=0.3))
    first, second = ([rehearsal.ask(str(number)) for number in range(300)] for _ in range(2))
    assert first == second
    assert 60 <= first.count("null") <= 120


def test_a_rule_holds_in_its_time() -> None:
    rehearsal = Rehearsal(Fault(kind="null", from_s=10, until_s=20))
    seen = []
    for _ in range(4):
        seen.append(rehearsal.ask())
        rehearsal.clock.advance(9)
    assert seen == [None, None, "null", None]


def test_a_rule_is_served_as_often_as_it_says() -> None:
    rehearsal = Rehearsal(Fault(kind="null", times=3), Fault(kind="list", times_per_task=1))
    assert [rehearsal.ask(one) for one in "aabbab"] == ["null", "null", "null", "list", "list", None]


def test_a_fault_that_does_not_fit_the_answer_is_not_counted() -> None:
    rehearsal = Rehearsal(Fault(kind="nan", times=1))
    assert rehearsal.ask() is None
    assert rehearsal.schedule.served == {}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(kind="rest"), "no fault of the kind 'rest'. Did you mean reset?"),
        (Fault(kind="reset", rate=1.5), "a rate of 1.5. Give a number from 0 to 1."),
        (Fault(kind="reset", share=-1), "a share of -1."),
        (Fault(kind="nan", endpoints=("list",)), "does not apply to 'list'. Choose from retrieve."),
        (Fault(kind="reset", from_s=9, until_s=3), "lasts from 9 to 3 s."),
        (Fault(kind="stall", value="long"), "cannot work with the value 'long'."),
        (Fault(kind="throttled", value="date soon"), "cannot work with the value 'date soon'."),
    ],
)
def test_a_rule_that_cannot_be_worked_with_is_refused(fault: Fault, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Rehearsal(fault)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[fault]]\nkind = 'rest'", ", fault 1: There is no fault of the kind 'rest'. Did you mean reset?"),
        ("[[fault]]\nkind = 'reset'\n[[fault]]\nrat = 1", ", fault 2, sets rat, which is unknown. Did you mean rate?"),
        ("[[fault]]\nrate = 1", ", fault 1, has no kind."),
        ("[[fault]]\nkind = 'reset'\nrate = 'often'", "rate is 'often'. Give a value of the type float."),
        ("[[fault]]\nkind = 'reset'\ntimes = true", "times is True. Give a value of the type int."),
        ("[[faults]]\nkind = 'reset'", "sets 'faults'. It holds one seed and a [[fault]] for each rule."),
        ("seed = 'a'", "cannot be read as rules."),
        ("fault = 3", "cannot be read as rules."),
        ("fault = [3]", "cannot be read as rules."),
        ("kind", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_worked_with_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_faults(file)
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read: No such file or directory\."):
        load_faults(tmp_path / "absent.toml")


def test_the_example_holds_every_kind_and_names_every_field() -> None:
    rules = load_faults(EXAMPLE)
    text = EXAMPLE.read_text("utf-8")
    assert {rule.kind for rule in rules} == KINDS.keys()
    assert {rule.seed for rule in rules} == {1}
    assert [name for name in _TYPES if name not in text] == []


def test_a_file_can_say_all_that_a_rule_holds() -> None:
    assert {one.name for one in fields(Fault)} == _TYPES.keys()
