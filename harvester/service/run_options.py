"""How to harvest, and when to stop."""

from dataclasses import dataclass
from enum import Enum

NOT_WAITED_FOR_S = 60.0
"""Seconds: a harvest that ends by itself waits no longer than this, for a limit or for sensible answers."""


class StopWhen(Enum):
    """When a harvest is over by itself."""

    ALL_DONE = "every task has ended"
    ALL_ASKED = "every task has been asked about once"
    SIGNALLED = "a signal stops it"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to harvest: `concurrency` requests at a time. Times are seconds.

    A claim lasts `lease_s`, and the process renews it while it lives. After a stop, downloads under way get `grace_s`.
    The scheduler checks at least every `recheck_s` for rows that another program has inserted; it does the
    housekeeping at least every `housekeeping_s`.
    """

    concurrency: int = 8
    lease_s: float = 60.0
    grace_s: float = 30.0
    until: StopWhen = StopWhen.ALL_DONE
    recheck_s: float = 1.0
    housekeeping_s: float = 5.0
