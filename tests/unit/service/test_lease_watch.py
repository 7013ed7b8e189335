"""Dead owners are found by a clock that never jumps."""

import pytest

from harvester.domain.tasks.records import HeldLeases
from harvester.service.lease_watch import LeaseWatch

NOW_MS = 1_800_000_000_000
LEASE_S = 60.0
LEASE_MS = 60_000
HOUR_MS = 3_600_000


def held(until_ms: int, *, owner: str = "other", count: int = 3, length_ms: int | None = LEASE_MS) -> HeldLeases:
    return HeldLeases(owner, until_ms, length_ms, count)


class Watched:
    """One watcher, and the owners that it finds dead."""

    def __init__(self) -> None:
        self.watch = LeaseWatch("me", LEASE_S)
        self.now = 500.0

    def dead(self, *leases: HeldLeases, after_s: float = 0.0, now_ms: int = NOW_MS) -> list[str]:
        self.now += after_s
        return [one.owner for one in self.watch.dead(leases, self.now, now_ms)]


@pytest.mark.parametrize("ahead_ms", [0, LEASE_MS - 1, -LEASE_MS + 1, 3 * HOUR_MS, 9 * 24 * HOUR_MS])
def test_an_owner_that_does_not_renew_its_leases_is_dead_when_they_would_have_ended(ahead_ms: int) -> None:
    watched, lease = Watched(), held(NOW_MS + LEASE_MS + ahead_ms)
    assert watched.dead(lease) == []
    assert watched.dead(lease, after_s=LEASE_S - 0.01) == []
    assert watched.dead(lease, after_s=0.01) == ["other"]


@pytest.mark.parametrize("ahead_ms", [0, LEASE_MS - 1, -LEASE_MS + 1, 3 * HOUR_MS])
def test_an_owner_that_renews_its_leases_lives_whatever_its_clock_shows(ahead_ms: int) -> None:
    watched = Watched()
    for beat in range(10):
        now_ms = NOW_MS + beat * (LEASE_MS - 1)
        lease = held(now_ms + LEASE_MS + ahead_ms)
        assert watched.dead(lease, after_s=LEASE_S - 0.001, now_ms=now_ms) == []


@pytest.mark.parametrize("jump_ms", [10 * 24 * HOUR_MS, -10 * 24 * HOUR_MS])
def test_a_jump_of_either_wall_clock_kills_no_owner(jump_ms: int) -> None:
    watched = Watched()
    assert watched.dead(held(NOW_MS + LEASE_MS)) == []
    assert watched.dead(held(NOW_MS + LEASE_MS), after_s=20, now_ms=NOW_MS + jump_ms) == []
    assert watched.dead(held(NOW_MS + LEASE_MS + jump_ms), after_s=50, now_ms=NOW_MS) == []


@pytest.mark.parametrize(("lapsed_ms", "is_dead"), [(LEASE_MS, True), (HOUR_MS, True), (LEASE_MS - 1, False)])
def test_what_was_left_behind_long_ago_is_free_at_once(lapsed_ms: int, *, is_dead: bool) -> None:
    assert Watched().dead(held(NOW_MS - lapsed_ms)) == ["other"] * is_dead


def test_each_owner_has_as_long_as_its_own_leases_last() -> None:
    watched = Watched()
    leases = [
        held(NOW_MS + 1, owner="short", length_ms=1000),
        held(NOW_MS + 1, owner="long", length_ms=600_000),
        held(NOW_MS + 1, owner="old version", length_ms=None),
    ]
    assert watched.dead(*leases) == []
    assert watched.dead(*leases, after_s=1) == ["short"]
    assert watched.dead(*leases[1:], after_s=59) == ["old version"]
    assert watched.dead(leases[1], after_s=540) == ["long"]


def test_no_owner_watches_itself() -> None:
    assert Watched().dead(held(NOW_MS - HOUR_MS, owner="me")) == []
