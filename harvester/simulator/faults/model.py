"""A fault: a kind of misbehaviour, and the requests and times that it applies to."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from aiohttp import web

from harvester.simulator.catalogue import Catalogue
from harvester.simulator.dialects import Dialect, dialect_of
from harvester.simulator.request_log import Endpoint

FAULT = web.ResponseKey("fault", str)
"""The key under which an answer carries the name of its fault."""


EVERY_GET: tuple[Endpoint, ...] = ("status", "retrieve", "list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. `kind` is a name of `harvester.simulator.faults.kinds.KINDS`; the rest narrows it down.

    The fault hits the part `rate` of the matching requests. Empty `endpoints` and `tasks` mean all; `share` selects a
    fixed part of the tasks. Times are the stand-in's seconds since its start. `times` limits how often the fault is
    served in total, `times_per_task` how often for one task. `value` and `status` are parameters of some kinds.
    """

    kind: str
    rate: float = 1.0
    endpoints: tuple[Endpoint, ...] = ()
    tasks: tuple[str, ...] = ()
    share: float = 1.0
    from_s: float = 0.0
    until_s: float = inf
    times: int | None = None
    times_per_task: int | None = None
    value: str | None = None
    status: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Occasion:
    """An answer to change; `now` is the stand-in's time in epoch seconds."""

    fault: Fault
    request: web.Request
    answer: web.Response
    catalogue: Catalogue
    now: float

    @property
    def body(self) -> bytes:
        """The answer's body, not compressed."""
        return self.answer.body if isinstance(self.answer.body, bytes) else b""

    @property
    def dialect(self) -> Dialect:
        """How the version that was asked writes its answers."""
        return dialect_of(self.request.path)

    @property
    def task_id(self) -> str:
        """The task of the request; empty for the list."""
        return self.request.match_info.get("task_id", "")

    def value(self, default: str) -> str:
        """Return the rule's `value`, or `default` without one."""
        return default if self.fault.value is None else self.fault.value

    def seconds(self, default: float) -> float:
        """Return the rule's `value` as a number of seconds."""
        return default if self.fault.value is None else float(self.fault.value)


Serve = Callable[[Occasion], web.Response | None]
"""Makes the faulty answer; None if the fault does not apply, and the right answer is sent."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of misbehaviour: its rows of `docs/faults.md`, and the calls that it can apply to."""

    rows: tuple[int, ...]
    serve: Serve
    endpoints: tuple[Endpoint, ...] = EVERY_GET
    value: Callable[[str], object] = str
    """Reads the rule's `value`; ValueError if it is invalid."""

    @property
    def allowed(self) -> tuple[Endpoint, ...]:
        """The calls that a rule may name: a kind for any answer spoils those to a POST as well, if it is asked to."""
        return (*self.endpoints, "create", "query") if self.endpoints == EVERY_GET else self.endpoints
