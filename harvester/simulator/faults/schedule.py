"""Applies the rules to each answer, in their order; the first rule that hits is served."""

import difflib
import random
from collections import Counter
from collections.abc import Sequence
from math import inf

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harvester.domain.errors import UsageError
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.faults.kinds import KINDS
from harvester.simulator.faults.model import FAULT, Fault, Occasion
from harvester.simulator.request_log import endpoint_of


class FaultSchedule:
    """The faults of one rehearsal. UsageError names an invalid rule.

    Whether a rule hits depends only on the seed, the rule, the task and the number of requests about it, so every run
    is the same.
    """

    def __init__(self, faults: Sequence[Fault], clock: SimulatorClock, catalogue: Catalogue) -> None:
        self._faults: list[Fault] = []
        self.add(*faults)
        self._clock = clock
        self._catalogue = catalogue
        self.started = clock.now()
        self._asked: Counter[tuple[int, str]] = Counter()
        self._served: Counter[tuple[int, str]] = Counter()
        self.served: Counter[str] = Counter()
        """How often each kind was served."""

    def add(self, *faults: Fault) -> None:
        """Add rules after the present ones."""
        for fault in faults:
            check(fault)
        self._faults += faults

    def middleware(self) -> Middleware:
        """Spoil answers as scheduled; the name of the fault goes with the response as `FAULT`."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            return self.spoil(request, response) if isinstance(response, web.Response) else response

        return middleware

    def spoil(self, request: web.Request, answer: web.Response) -> web.Response:
        """Return the faulty answer in place of this one, or this one."""
        endpoint, now = endpoint_of(request), self._clock.now()
        task_id = request.match_info.get("task_id", "").lower()
        for number, fault in enumerate(self._faults):
            if endpoint not in (fault.endpoints or KINDS[fault.kind].endpoints):
                continue
            if not self._is_due(number, fault, task_id, now - self.started):
                continue
            spoilt = KINDS[fault.kind].serve(Occasion(fault, request, answer, self._catalogue, now))
            if spoilt is not None:
                self._count(number, fault, task_id)
                spoilt[FAULT] = fault.kind
                return spoilt
        return answer

    def _is_due(self, number: int, fault: Fault, task_id: str, at_s: float) -> bool:
        if not fault.from_s <= at_s < fault.until_s or (fault.tasks and task_id not in fault.tasks):
            return False
        if self._served[number, ""] >= _limit(fault.times):
            return False
        if task_id and self._served[number, task_id] >= _limit(fault.times_per_task):
            return False
        if not _hits(fault.share, fault.seed, number, task_id):
            return False
        self._asked[number, task_id] += 1
        return _hits(fault.rate, fault.seed, number, task_id, self._asked[number, task_id])

    def _count(self, number: int, fault: Fault, task_id: str) -> None:
        self.served[fault.kind] += 1
        self._served[number, ""] += 1
        if task_id:
            self._served[number, task_id] += 1


def check(fault: Fault) -> None:
    """Raise UsageError, with the remedy, for an invalid rule."""
    if fault.kind not in KINDS:
        nearest = difflib.get_close_matches(fault.kind, KINDS, n=1)
        remedy = f"Did you mean {nearest[0]}?" if nearest else f"Choose one of {', '.join(KINDS)}."
        raise UsageError(f"There is no fault of the kind {fault.kind!a}.", remedy=remedy)
    kind = KINDS[fault.kind]
    for endpoint in fault.endpoints:
        if endpoint not in kind.allowed:
            raise UsageError(
                f"The fault {fault.kind} does not apply to {endpoint!a}.",
                remedy=f"Choose from {', '.join(kind.allowed)}.",
            )
    for name, number in (("rate", fault.rate), ("share", fault.share)):
        if not 0 <= number <= 1:
            raise UsageError(f"The fault {fault.kind} has a {name} of {number}.", remedy="Give a number from 0 to 1.")
    if not 0 <= fault.from_s < fault.until_s:
        raise UsageError(
            f"The fault {fault.kind} lasts from {fault.from_s:g} to {fault.until_s:g} s.",
            remedy="Let from_s be 0 or more, and until_s later.",
        )
    try:
        kind.value("1" if fault.value is None else fault.value)
    except ValueError:
        raise UsageError(
            f"The fault {fault.kind} cannot work with the value {fault.value!a}.", remedy="Give a number."
        ) from None


def _limit(times: int | None) -> float:
    return inf if times is None else times


def _hits(part: float, *circumstances: object) -> bool:
    # A text as the seed gives the same numbers in every process.
    return part >= 1 or random.Random(repr(circumstances)).random() < part  # noqa: S311  # a rehearsal
