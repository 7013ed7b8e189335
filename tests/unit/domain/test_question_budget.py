from harvester.domain.planning.question_budget import (
    FREE_EVERY_S,
    FREE_QUESTIONS,
    MAX_QUESTIONS,
    PROVEN_S,
    QUESTIONS_A_TASK,
    QuestionBudget,
)
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.outcomes import Failed, Throttled

NOW = 1000.0


def spent(tasks: int) -> QuestionBudget:
    """Return a budget that has spent all questions for so many open tasks."""
    budget = QuestionBudget()
    for _ in range(round(QUESTIONS_A_TASK * tasks + FREE_QUESTIONS)):
        budget.charge(NOW, 1.0)
    return budget


def test_a_task_costs_no_more_than_its_questions_on_average() -> None:
    budget = spent(tasks=2)
    assert budget.allowed(NOW, None, open_tasks=2) == 0
    assert budget.allowed(NOW, None, open_tasks=3) == QUESTIONS_A_TASK


def test_a_task_that_has_ended_still_counts() -> None:
    budget = spent(tasks=2)
    budget.record_outcome(Failed("it failed"))
    assert budget.allowed(NOW, None, open_tasks=1) == 0
    assert budget.allowed(NOW, None, open_tasks=2) == QUESTIONS_A_TASK


def test_a_task_that_takes_long_is_still_asked_about() -> None:
    assert spent(tasks=1).allowed(NOW + FREE_EVERY_S, None, open_tasks=1) == 1


def test_after_a_day_without_a_refusal_the_number_is_free() -> None:
    budget = spent(tasks=1)
    assert budget.allowed(NOW + PROVEN_S, None, open_tasks=1) == MAX_QUESTIONS


def test_a_refusal_begins_the_day_anew() -> None:
    budget = spent(tasks=1)
    budget.record_outcome(Throttled("too many requests", 1.0))
    budget.charge(NOW + PROVEN_S, 1.0)
    assert budget.allowed(NOW + PROVEN_S, None, open_tasks=1) == 0


def test_more_of_a_spare_budget_goes_into_questions() -> None:
    def sent_in_a_minute(open_tasks: int) -> int:
        budget, sent = QuestionBudget(), 0
        for second in range(60):
            if budget.allowed(NOW + second, 1.0, open_tasks=open_tasks):
                budget.charge(NOW + second, 1.0)
                sent += 1
        return sent

    assert sent_in_a_minute(10_000) < sent_in_a_minute(10) - 5


def test_strategies_that_ask_first_are_not_limited() -> None:
    assert spent(tasks=1).allowed(NOW, 1.0, Strategy.STATUS, open_tasks=1) == MAX_QUESTIONS
