import pytest

from harvester.domain.limits.aimd import CUT
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.restore import recall
from harvester.domain.limits.shared_limits import EndpointLimits, LimitSnapshot, SharedRate
from harvester.domain.planning.feasibility import Budget

NOW = 1_760_000_000_000
DAY_S = 86_400
SIXTY = RateLimit(60)


def snapshot(endpoint_limits: EndpointLimits, endpoint: Endpoint = Endpoint.RETRIEVE) -> LimitSnapshot:
    return LimitSnapshot(limits_by_endpoint={endpoint: endpoint_limits})


def results(pacer: Pacer, now_ms: int) -> Budget:
    return pacer.results_budget(now_ms / 1000, now_ms)


def test_without_lessons_the_setting_is_the_budget() -> None:
    budget = results(recall(SIXTY, LimitSnapshot(), NOW), NOW)

    assert (budget.rate_per_s, budget.setting_per_s, budget.resumes_ms) == (1.0, 1.0, NOW)


def test_a_quota_of_results_is_the_rate_and_the_setting_does_not_hold_it() -> None:
    budget = results(recall(SIXTY, snapshot(EndpointLimits(quota=Quota(50, DAY_S))), NOW), NOW)

    assert budget.rate_per_s == pytest.approx(50 / DAY_S)
    assert not budget.is_held_by_setting


def test_what_was_learned_of_questions_saves_no_results() -> None:
    known = snapshot(EndpointLimits(quota=Quota(50, DAY_S)), Endpoint.LIST)

    assert results(recall(SIXTY, known, NOW), NOW).rate_per_s == 1.0


def test_a_cut_rate_climbs_with_the_time_since_and_is_over_at_last() -> None:
    known = snapshot(EndpointLimits(rate=SharedRate(CUT * 60, NOW)))

    rates = [results(recall(SIXTY, known, at), at).rate_per_s for at in (NOW, NOW + 60_000, NOW + 3_600_000)]

    assert rates == pytest.approx([0.7, 0.75, 1.0])


def test_a_block_and_a_budget_that_others_have_reserved_put_the_next_request_off() -> None:
    blocked = recall(SIXTY, LimitSnapshot(blocks={Endpoint.RETRIEVE: NOW + 3_600_000}), NOW)
    reserved = recall(SIXTY, LimitSnapshot(), NOW, arrival_ms=NOW + 5_000)

    assert results(blocked, NOW).resumes_ms == NOW + 3_600_000
    assert results(reserved, NOW).resumes_ms == NOW + 5_000
