"""Learn how long the platform takes to process a video, for each model and length of video.

Answers never show a task's processing time, only whether it had finished between two requests. So the module learns a
hazard: the share of the tasks reaching an age class that finish in it (a life table, or piecewise exponential model).
Unfinished tasks count as much as finished ones; without them the platform would look faster than it is.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from harvester.domain.planning.costs import LEAST_WAIT_S

FIRST_EDGE_S = 15.0
EDGE_FACTOR = math.sqrt(2)
CLASSES = 32
"""Age classes: the first ends at 15 s, each further one at 1.4 times the age before; the last begins at five days."""

EDGES_S = (0.0, *(FIRST_EDGE_S * EDGE_FACTOR**number for number in range(CLASSES - 1)))

PRIOR_MEDIAN_S = 120.0
"""The prior of a video of unknown length, which may be ready in seconds or take an hour."""

PRIOR_SHARE = 0.13
"""The prior of a known length as a share of it: the platform takes a twentieth to a third of the duration."""

PRIOR_SPREAD = 1.5
"""The prior is log-normal: two thirds of all tasks take between a fifth of the median and five times as long."""

PRIOR_TASKS = 5.0
"""Weight of the prior in tasks. All tasks are the prior of a model, and a model's tasks the prior of a length."""

MAX_EVENTS = 500.0
"""Finished tasks beyond which old ones count less, because the platform may become faster or slower."""

MAX_AGE_S = 30 * 86_400.0
"""Seconds: the greatest age that counts, because a task dated 1970 would outweigh all others."""

MAX_LENGTH_CLASS = 12
"""Exponent of the greatest length class: two to this power is four thousand minutes."""

Key = tuple[str, int]
"""Model name and length class; "" is any model and 0 any length."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The evidence of an answer about one age class: the share of the task that finished in it, and seconds at risk."""

    age_class: int
    finished: float
    exposure_s: float


@dataclass(slots=True)
class LifeTable:
    """Tasks by age class: the number that finished in it, and the seconds for which tasks were at risk."""

    finished: list[float] = field(default_factory=lambda: [0.0] * CLASSES)
    exposure_s: list[float] = field(default_factory=lambda: [0.0] * CLASSES)

    def add(self, observations: Iterable[Observation]) -> None:
        """Count observations."""
        for observation in observations:
            self.finished[observation.age_class] += observation.finished
            self.exposure_s[observation.age_class] += observation.exposure_s

    def fade(self) -> None:
        """Scale the table down to MAX_EVENTS finished tasks."""
        total = sum(self.finished)
        if total > MAX_EVENTS:
            keep = MAX_EVENTS / total
            self.finished = [keep * number for number in self.finished]
            self.exposure_s = [keep * number for number in self.exposure_s]

    def observations(self) -> list[Observation]:
        """Return the table as one observation for each class that is not empty."""
        rows = zip(range(CLASSES), self.finished, self.exposure_s, strict=True)
        return [Observation(*row) for row in rows if row[1:] != (0.0, 0.0)]


@dataclass(frozen=True, slots=True)
class ProcessingTime:
    """A distribution given by its hazard in each age class, in finished tasks for each second at risk."""

    hazards: tuple[float, ...]

    def chance(self, age_s: float, unfinished_s: float = 0.0) -> float:
        """Return the probability that a task of that age has finished, given that at `unfinished_s` it had not."""
        start, from_s = self._at_edge_before(age_s, unfinished_s)
        exponent = start.exponent
        for _, hazard, length in self._steps(from_s, age_s):
            exponent += hazard * length
        return -math.expm1(-exponent)

    def expected_wait_s(self, age_s: float, unfinished_s: float = 0.0) -> float:
        """Return the expected seconds since the end of a task of that age, given that at `unfinished_s` it had not."""
        return self.chance_and_wait(age_s, unfinished_s)[1]

    def chance_and_wait(self, age_s: float, unfinished_s: float = 0.0) -> tuple[float, float]:
        """Return `chance` and `expected_wait_s`; the second is the integral of the first over the ages."""
        now, from_s = self._at_edge_before(age_s, unfinished_s)
        for _, hazard, length in self._steps(from_s, age_s):
            now = _later(now, hazard, length)
        return 1.0 - now.unfinished, max(0.0, now.wait_s)

    def age_of_wait_s(self, wait_s: float, unfinished_s: float = 0.0) -> float:
        """Return the age in seconds at which `expected_wait_s` reaches `wait_s`, exact to a second or a hundredth."""
        low, high = 0.0, max(1.0, wait_s)
        while high < MAX_AGE_S and self.expected_wait_s(unfinished_s + high, unfinished_s) < wait_s:
            low, high = high, 2 * high
        while high - low > max(1.0, high / 100):
            middle = (low + high) / 2
            if self.expected_wait_s(unfinished_s + middle, unfinished_s) < wait_s:
                low = middle
            else:
                high = middle
        return unfinished_s + high

    def age_of_chance_s(self, chance: float, unfinished_s: float = 0.0) -> float:
        """Return the age in seconds at which `chance` reaches that probability; infinite if it never does."""
        exponent, age_s = -math.log1p(-chance), unfinished_s
        for _, hazard, length in self._steps(unfinished_s, math.inf):
            if hazard * length >= exponent:
                return age_s + exponent / hazard
            exponent -= hazard * length
            age_s += length
        return math.inf

    def observations(self, after_s: float, by_s: float, *, is_finished: bool) -> list[Observation]:
        """Return the observations of a task that was unfinished at `after_s` and finished, or not, at `by_s`.

        The time of its end is distributed over the classes by this distribution (expectation-maximization).
        """
        if not is_finished:
            return [Observation(number, 0.0, length) for number, _, length in self._steps(after_s, by_s)]
        total, unfinished, observations = self.chance(by_s, after_s), 1.0, []
        for number, hazard, length in self._steps(after_s, by_s):
            here = unfinished * -math.expm1(-hazard * length)
            unfinished -= here
            share = here / total if total > 0 else length / (by_s - after_s)
            later = max(0.0, 1 - (1 - unfinished) / total) if total > 0 else 0.0
            observations.append(Observation(number, share, length * (later + share / 2)))
        return observations

    def _at_edge_before(self, age_s: float, unfinished_s: float) -> tuple["_Outlook", float]:
        """Return a precomputed outlook to start from, and its age."""
        if not unfinished_s <= 0 < age_s:
            return _AT_FIRST, unfinished_s
        number = bisect_right(EDGES_S, age_s) - 1
        return _at_edges(self.hazards)[number], EDGES_S[number]

    def _steps(self, start_s: float, end_s: float) -> Iterator[tuple[int, float, float]]:
        """Yield the age classes between two ages: number, hazard, and the seconds within it."""
        number = max(0, bisect_right(EDGES_S, start_s) - 1)
        while start_s < end_s:
            upper = EDGES_S[number + 1] if number + 1 < CLASSES else math.inf
            yield number, self.hazards[number], min(upper, end_s) - start_s
            start_s, number = upper, number + 1


class _Outlook(NamedTuple):
    """The expectation at an age: the cumulated hazard, the share of unfinished tasks, and the mean wait."""

    exponent: float
    unfinished: float
    wait_s: float


_AT_FIRST = _Outlook(0.0, 1.0, 0.0)


@lru_cache(maxsize=64)
def _at_edges(hazards: tuple[float, ...]) -> list[_Outlook]:
    """Return the outlook at the beginning of each class; cached, because a plan needs it for a thousand tasks."""
    found = [_AT_FIRST]
    for hazard, (start_s, end_s) in zip(hazards, pairwise(EDGES_S), strict=False):
        found.append(_later(found[-1], hazard, end_s - start_s))
    return found


def _later(now: _Outlook, hazard: float, length: float) -> _Outlook:
    """Return the outlook after another `length` seconds under a hazard."""
    exponent = hazard * length
    # The integral of exp(-hazard * s); by its series if the quotient would lose all digits.
    area = -math.expm1(-exponent) / hazard if exponent > 1e-6 else length * (1 - exponent / 2)
    wait_s = now.wait_s + length - now.unfinished * area
    return _Outlook(now.exponent + exponent, now.unfinished * math.exp(-exponent), wait_s)


@dataclass(slots=True)
class ProcessingTimes:
    """The learned distributions. `all_seen` has all observations, `fresh` those since the last `take_fresh`.

    `least_wait_s` is the expected waiting (seconds) from which on a task is worth a look: see `costs.least_wait_s`.
    """

    all_seen: dict[Key, LifeTable] = field(default_factory=dict)
    fresh: dict[Key, LifeTable] = field(default_factory=dict)
    least_wait_s: float = LEAST_WAIT_S
    _known: dict[Key, ProcessingTime] = field(default_factory=dict)

    def load(self, stored: Mapping[Key, LifeTable]) -> None:
        """Replace the observations by the stored ones, and keep those that are not stored yet."""
        self.all_seen = dict(stored)
        for key, added in self.fresh.items():
            self.all_seen.setdefault(key, LifeTable()).add(added.observations())
        self._known = {}

    def of(self, model_name: str | None, duration_s: float | None) -> ProcessingTime:
        """Return the distribution for a video of that model and length, either of which may be unknown."""
        keys = _keys(model_name, duration_s)
        # Another thread may call this too: a result that it computes while `observe` runs must not stay in the cache.
        present = self._known
        known = present.get(keys[-1])
        if known is None:
            known = present[keys[-1]] = self._estimate(keys)
        return known

    def observe(  # noqa: PLR0913  # the last two are named
        self,
        model_name: str | None,
        duration_s: float | None,
        after_s: float,
        by_s: float,
        *,
        is_finished: bool,
        counted: tuple[str | None, float | None] | None = None,
    ) -> None:
        """Learn that a task took longer than `after_s` seconds, and that at `by_s` it had finished, or had not.

        The classes of the model and length in `counted` have counted the task already.
        """
        by_s = min(by_s, MAX_AGE_S)
        if not by_s > after_s:
            return
        observations = self.of(model_name, duration_s).observations(after_s, by_s, is_finished=is_finished)
        known = [] if counted is None else _keys(*counted)
        for key in _keys(model_name, duration_s):
            if key in known:
                continue
            seen = self.all_seen.setdefault(key, LifeTable())
            seen.add(observations)
            seen.fade()
            self.fresh.setdefault(key, LifeTable()).add(observations)
        self._known = {}

    def take_fresh(self) -> dict[Key, LifeTable]:
        """Return the observations since the last call."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def _estimate(self, keys: list[Key]) -> ProcessingTime:
        hazards = prior(keys[-1][1]).hazards
        for key in keys:
            seen = self.all_seen.get(key)
            if seen is not None:
                hazards = tuple(map(_posterior, hazards, _WIDTHS_S, seen.finished, seen.exposure_s))
        return ProcessingTime(hazards)


def length_class(duration_s: float | None) -> int:
    """Return the length of a video in minutes, rounded up to a power of two; 0 if unknown."""
    if duration_s is None or not 0 < duration_s < math.inf:
        return 0
    # At least one minute: a sixtieth of the smallest floats is 0, which has no logarithm.
    return int(2 ** min(MAX_LENGTH_CLASS, math.ceil(math.log2(max(1.0, duration_s / 60)))))


def _keys(model_name: str | None, duration_s: float | None) -> list[Key]:
    """Return the classes of a video, the most general first."""
    keys = [("", 0)]
    if model_name:
        keys.append((model_name, 0))
    minutes = length_class(duration_s)
    if minutes:
        keys.append((model_name or "", minutes))
    return keys


def _posterior(prior: float, width_s: float, finished: float, exposure_s: float) -> float:
    """Return the hazard of an age class, as if PRIOR_TASKS tasks had passed through it with the prior's hazard."""
    before_s = PRIOR_TASKS * width_s
    return (prior * before_s + finished) / (before_s + exposure_s)


_WIDTHS_S = tuple(after - before for before, after in pairwise((*EDGES_S, EDGES_S[-1] * EDGE_FACTOR)))


@cache
def prior(minutes: int) -> ProcessingTime:
    """Return what is assumed of a length class before anything is learned; 0 is an unknown length."""
    median_s = PRIOR_SHARE * 60 * minutes or PRIOR_MEDIAN_S

    def log_unfinished(age_s: float) -> float:
        z = math.log(age_s / median_s) / PRIOR_SPREAD if age_s > 0 else -math.inf
        # Beyond eight deviations the complement is smaller than a float can be added up with.
        return math.log(0.5 * math.erfc(min(z, 8.0) / math.sqrt(2)))

    logs = [log_unfinished(edge) for edge in (*EDGES_S, EDGES_S[-1] * EDGE_FACTOR)]
    return ProcessingTime(
        tuple((before - after) / width_s for (before, after), width_s in zip(pairwise(logs), _WIDTHS_S, strict=True))
    )


PRIOR = prior(0)
