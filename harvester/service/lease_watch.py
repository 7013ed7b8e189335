"""Finds the dead owners of leases, whatever the wall clocks show."""

from collections.abc import Iterable
from dataclasses import dataclass

from harvester.domain.tasks.records import HeldLeases


@dataclass(frozen=True, slots=True)
class _Seen:
    """The leases of an owner at their last change, and when (steady seconds) it is dead without a further change."""

    leases: HeldLeases
    dead_at: float


class LeaseWatch:
    """Watches the other owners. A live one renews its leases a few times before they end, by its own wall clock.

    An owner is therefore dead if its leases have not changed for as long as they last, on this process's steady clock:
    two wall clocks may differ by any amount, and either may jump. The wall clock decides only about an owner that is
    seen for the first time, with the length of its leases as tolerance: leases that ended long ago are free at once.
    """

    def __init__(self, own: str, lease_s: float) -> None:
        self._own = own
        self._lease_ms = round(lease_s * 1000)
        self._seen: dict[str, _Seen] = {}

    def dead(self, held: Iterable[HeldLeases], now: float, now_ms: int) -> list[HeldLeases]:
        """Return the leases of owners that are dead; `now` is steady seconds, `now_ms` the wall clock."""
        others = [one for one in held if one.owner != self._own]
        self._seen = {one.owner: self._observe(one, now, now_ms) for one in others}
        return [one for one in others if now >= self._seen[one.owner].dead_at]

    def _observe(self, one: HeldLeases, now: float, now_ms: int) -> _Seen:
        length_ms = self._lease_ms if one.length_ms is None else max(0, one.length_ms)
        before = self._seen.get(one.owner)
        if before is not None and before.leases == one:
            return before
        if before is None and now_ms - one.until_ms >= length_ms:
            return _Seen(one, now)
        return _Seen(one, now + length_ms / 1000)
