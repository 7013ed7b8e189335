"""When answers without a result may end tasks, and when they are taken for trouble of the API."""

from harvester.domain.planning.final_state_breaker import (
    EVIDENCE_S,
    FAILED_EVIDENCE_S,
    LATER_PROBE_PAUSE_S,
    LONE_EVIDENCE_S,
    MAX_ASKED,
    MAX_PROBE_PAUSE_S,
    MIN_ASKED,
    MIN_DOUBTED_TASKS,
    PROBES_ONLY_S,
    REFUTED_S,
    WINDOW_TASKS,
    FinalStateBreaker,
)


def doubted(count: int, breaker: FinalStateBreaker | None = None, now: float = 0.0) -> FinalStateBreaker:
    breaker = breaker or FinalStateBreaker()
    for task in range(count):
        breaker.answered(task, now, is_doubtful=True)
    return breaker


def test_a_few_tasks_without_a_result_are_no_trouble_of_the_api() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS - 1)
    assert not breaker.is_open
    for again in range(3 * MIN_DOUBTED_TASKS):
        breaker.answered(again % (MIN_DOUBTED_TASKS - 1), 1.0, is_doubtful=True)
    assert not breaker.is_open


def test_as_many_in_a_row_open_it_whatever_was_before() -> None:
    breaker = FinalStateBreaker()
    for task in range(100, 100 + WINDOW_TASKS):
        breaker.answered(task, 0.0, is_doubtful=False)
    assert doubted(MIN_DOUBTED_TASKS, breaker).is_open


def test_most_of_the_last_ones_open_it_also_with_good_ones_between() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS - 1)
    breaker.answered(99, 1.0, is_doubtful=False)
    assert not breaker.is_open
    breaker.answered(100, 2.0, is_doubtful=True)
    assert breaker.is_open


def test_a_good_answer_closes_it() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS)
    assert breaker.answered(99, 1.0, is_doubtful=False)
    assert (breaker.is_open, breaker.asked) == (False, 0)


def test_an_end_needs_a_good_answer_about_another_task_since_the_first_doubt() -> None:
    breaker = FinalStateBreaker()
    breaker.answered(1, 100.0, is_doubtful=False)
    assert breaker.may_end(5.0, 104.0, is_alone=False)
    assert not breaker.may_end(5.0, 106.0, is_alone=False)
    assert not breaker.may_end(EVIDENCE_S + 50, 101 + EVIDENCE_S, is_alone=False)


def test_a_page_of_the_list_is_evidence_where_no_other_task_can_be_asked_or_after_a_while() -> None:
    breaker = FinalStateBreaker()
    assert not breaker.may_end(20.0, 100.0, is_alone=True)
    breaker.listed(100.0)
    assert breaker.may_end(20.0, 100.0, is_alone=True)
    assert not breaker.may_end(20.0, 100.0, is_alone=False)
    assert breaker.may_end(LONE_EVIDENCE_S, 100.0, is_alone=False)


def test_a_failure_that_names_the_task_needs_less() -> None:
    breaker = FinalStateBreaker()
    assert breaker.may_fail(5.0, 100.0, is_alone=True)
    assert not breaker.may_fail(5.0, 100.0, is_alone=False)
    assert breaker.may_fail(FAILED_EVIDENCE_S, 100.0, is_alone=False)
    assert not doubted(MIN_DOUBTED_TASKS).may_fail(FAILED_EVIDENCE_S, 0.0, is_alone=True)


def test_where_the_api_knows_a_task_after_all_nothing_ends_for_an_hour() -> None:
    breaker = doubted(1)
    breaker.answered(0, 10.0, is_doubtful=False)
    assert not breaker.may_end(5.0, 11.0, is_alone=True)
    breaker.listed(11.0 + REFUTED_S)
    assert breaker.may_end(5.0, 11.0 + REFUTED_S, is_alone=True)


def test_a_young_task_that_becomes_visible_refutes_nothing() -> None:
    breaker = doubted(1)
    breaker.answered(0, 10.0, is_doubtful=False, is_young=True)
    assert breaker.may_end(5.0, 11.0, is_alone=True)


def test_probes_follow_ever_more_rarely_and_more_so_after_an_hour() -> None:
    breaker, now, pauses = doubted(MIN_DOUBTED_TASKS), 0.0, []
    while now < 3 * PROBES_ONLY_S:
        breaker.probe_sent(now, None)
        pauses.append(breaker.next_probe_at - now)
        now = breaker.next_probe_at
    assert pauses[:4] == [1.0, 1.0, 1.0, 1.5]
    assert MAX_PROBE_PAUSE_S in pauses
    assert pauses[-1] == LATER_PROBE_PAUSE_S
    assert len(pauses) < 100


def test_with_few_requests_a_day_probes_take_few_of_them() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS)
    now, probes = 0.0, 0
    while now < 24 * 3600:
        breaker.probe_sent(now, 50 / 86_400)
        now, probes = breaker.next_probe_at, probes + 1
    assert probes <= 30


def test_only_probes_are_sent_after_many_tasks_by_the_rate_and_for_an_hour() -> None:
    assert not doubted(MAX_ASKED - 1).only_probes(0.0, None)
    assert doubted(MAX_ASKED).only_probes(0.0, None)
    assert doubted(MIN_ASKED).only_probes(0.0, 50 / 86_400)
    assert not doubted(MAX_ASKED).only_probes(PROBES_ONLY_S, None)


def test_a_breaker_that_opens_again_soon_goes_on_with_longer_pauses() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS)
    breaker.answered(99, 20.0, is_doubtful=False)
    doubted(MIN_DOUBTED_TASKS, breaker, now=30.0)
    assert breaker.next_probe_at - 30.0 == 15.0


def test_a_probe_that_is_promised_a_result_is_asked_for_it_at_once() -> None:
    breaker = doubted(MIN_DOUBTED_TASKS)
    breaker.probe_sent(40.0, None)
    breaker.probe_is_ready(41.0)
    assert (breaker.is_open, breaker.next_probe_at) == (True, 41.0)


def test_what_was_recorded_before_opens_it_but_is_no_evidence() -> None:
    breaker = FinalStateBreaker()
    breaker.remember([(50, False), *((task, True) for task in range(MIN_DOUBTED_TASKS))], 10.0)
    assert breaker.is_open
    breaker = FinalStateBreaker()
    breaker.remember([(50, False)], 10.0)
    assert not breaker.may_end(60.0, 11.0, is_alone=True)
