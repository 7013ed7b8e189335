"""Estimate the number of requests that the open tasks take; how often asking pays depends on the answers."""

import math
from dataclasses import dataclass
from itertools import pairwise

from harvester.domain.planning.costs import SURE
from harvester.domain.planning.finish_estimates import chance_finished
from harvester.domain.planning.forecast_conditions import Conditions, is_listable, listable
from harvester.domain.planning.list_reader import PAGE_LIMIT
from harvester.domain.planning.list_windows import MAX_TASKS
from harvester.domain.planning.poll_times import is_last_chance
from harvester.domain.planning.processing_time import EDGES_S, ProcessingTimes
from harvester.domain.planning.question_budget import LEAST_SHARE
from harvester.domain.planning.queue_sample import QueueSample, sampled_pending
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Expected:
    """The estimated number of requests for all open tasks; `needed` without questions that only bring results sooner.

    At `finished_ms` (Unix ms) the last task has probably finished processing; None if all have.
    """

    retrievals: float
    questions: float
    needed: float
    finished_ms: int | None

    @property
    def requests(self) -> float:
        """Retrievals and questions together."""
        return self.retrievals + self.questions


def estimate_requests(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Expected:
    """Return the estimated number of requests for all open tasks, by deadline at the rate in force."""
    guesses, young = _sort_by_chance(sample, conditions, times)
    # Each has finished with this chance when all have with one half.
    chance = min(SURE, 0.5 ** (1 / max(1, len(young) * sample.each)))
    finished_ms = max((_finished_ms(task, times, chance) for task in young), default=None)
    on_pages = listable(young, sample, conditions) * sample.each
    at_least = wanted = 0.0
    for task in young:
        on_page = on_pages if is_listable(task, conditions) else 1
        at_least += sample.each / max(1, min(PAGE_LIMIT, on_page))
        wanted += sample.each * _questions_worth_asking(task, sample, conditions, times, on_page)
    budget, seconds = conditions.budget, max(0, (finished_ms or 0) - sample.at_ms) / 1000
    if budget.rate_per_s is not None:
        requests = budget.rate_per_s * seconds
        spare = requests - sample.each * len(young)
        # The strategies `status` and `list` ask about each task first, so the share for questions has no limit.
        wanted = min(wanted, min(spare, LEAST_SHARE * requests) if conditions.strategy is Strategy.AUTO else spare)
    retrievals = sample.open_tasks + guesses
    return Expected(retrievals, max(at_least, wanted), retrievals + at_least, finished_ms)


def _sort_by_chance(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> tuple[float, list[Task]]:
    """Return the number of retrievals that find no result, and the tasks that need questions first."""
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else sample.each * 1000 / rate_per_s
    pending = [turn.task for turn in sampled_pending(sample)]
    at_ms = max(sample.at_ms, conditions.budget.resumes_ms or 0) + (len(sample.sampled) - len(pending)) * each_ms
    in_vain, young = 0.0, []
    for task in pending:
        reached_ms = round(at_ms)
        chance = chance_finished(task, reached_ms, times)
        at_ms += each_ms
        is_undated = not task.is_dated and task.unfinished_at_ms is None
        may_guess = conditions.strategy is Strategy.AUTO or is_last_chance(task, reached_ms)
        if may_guess and (chance >= SURE or is_undated):
            in_vain += sample.each * (1 - chance)
        else:
            young.append(task)
    return in_vain, young


def _finished_ms(task: Task, times: ProcessingTimes, chance: float) -> int:
    """Return when the task has finished with that `chance` (Unix ms), its deadline at the latest."""
    age_s = times.of(task.model_name, task.duration_s).age_of_chance_s(chance, _unfinished_s(task))
    return round(min(task.created_ms_estimate + age_s * 1000, task.expires_at_ms))


def _questions_worth_asking(
    task: Task, sample: QueueSample, conditions: Conditions, times: ProcessingTimes, listable: int
) -> float:
    """Return the task's share of the questions that pay until it has finished, if `listable` tasks share a page.

    If n tasks each finish at a rate r, those that finish in the time t since the last question have waited n r t^2 / 2
    seconds; asking pays when that reaches 1 / price. So the best rate of questions is the root of n r price / 2:
    for a page while any of its tasks may be unfinished, for a single task while it is.
    """
    time = times.of(task.model_name, task.duration_s)
    unfinished_s, age_s = _unfinished_s(task), task.age_ms(sample.at_ms) / 1000
    price = conditions.price(sample.open_tasks)
    end_s = time.age_of_chance_s(SURE, unfinished_s)
    ages = [age_s, *(edge for edge in EDGES_S if age_s < edge < end_s), end_s]
    share = 0.0
    for (start_s, before), (end_s, after) in pairwise((age, time.chance(age, unfinished_s)) for age in ages):
        # A page of the tasks in processing also answers for the finished ones, which it does not show.
        fits = PAGE_LIMIT / (1 - before) if conditions.strategy is Strategy.AUTO else PAGE_LIMIT
        together = max(1.0, min(listable, fits, MAX_TASKS))
        asked = math.sqrt(max(0.0, after - before) * max(0.0, end_s - start_s) * price / 2 / together)
        share += asked if together > 1 else asked * math.sqrt(1 - before)
    return share


def _unfinished_s(task: Task) -> float:
    return 0.0 if task.unfinished_at_ms is None else task.age_ms(task.unfinished_at_ms) / 1000
