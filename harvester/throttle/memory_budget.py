"""How many bytes of answers are held at a time, from the first byte received to the end of the commit.

Counted in bytes and not in answers: eight short videos are nothing, eight of four hours are 370 MB.
"""

import anyio

STEP_BYTES = 1024 * 1024
"""A body of unknown length takes its memory in steps of this size."""

TEXT_OF_COMPRESSED = 2.6
"""So many times as long as a compressed body is its text: 2.3 to 2.6, from the fastest gzip to the best."""

_FORGETTING = 8
"""An expectation that turns out too high moves down by this part of the difference."""


def share_bytes(body_bytes: int, *, is_compressed: bool = False) -> int:
    """Return what an answer takes that is so long as sent: itself, and its vectors twice while they are joined.

    Vectors take a third of their text.
    """
    text_bytes = int(body_bytes * TEXT_OF_COMPRESSED) if is_compressed else body_bytes
    return body_bytes + 2 * (text_bytes // 3)


class MemoryBudget:
    """Shares out `total_bytes` between the answers under way.

    Who finds too little left waits, and while somebody waits no further request begins. The oldest answer under way
    always gets what it needs: so one can always finish, and one larger than the whole budget passes, alone.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self.expected_bytes = 0
        """What the next answer is likely to take: near the longest of the last ones."""
        self._holds: dict[Reservation, None] = {}
        self._waiting = 0
        self._changed: anyio.Event | None = None
        """There is one only while somebody waits: each answer wakes three or four times, and hardly ever anybody."""

    async def room(self) -> None:
        """Wait until an answer like the last ones has room."""
        while self._waiting or (self._holds and self.held_bytes + self.expected_bytes > self.total_bytes):
            await self._change()

    def take(self) -> "Reservation":
        """Begin an answer: its share is as large as is expected, and for the caller to release."""
        hold = Reservation(self)
        self._holds[hold] = None
        self._set(hold, self.expected_bytes)
        return hold

    def learn(self, size: int) -> None:
        """Take note of how much an answer took."""
        self.expected_bytes = max(size, self.expected_bytes - (self.expected_bytes - size) // _FORGETTING)

    async def _grow(self, hold: "Reservation", size: int) -> None:
        self._waiting += 1
        try:
            while not (self.held_bytes - hold.size + size <= self.total_bytes or self._is_oldest(hold)):
                await self._change()
        finally:
            self._waiting -= 1
            self._wake()
        self._set(hold, size)

    def _is_oldest(self, hold: "Reservation") -> bool:
        return next(iter(self._holds), hold) is hold

    def _set(self, hold: "Reservation", size: int) -> None:
        self.held_bytes += size - hold.size
        hold.size = size

    def _shrink(self, hold: "Reservation", size: int) -> None:
        if size < hold.size:
            self._set(hold, size)
            self._wake()

    def _release(self, hold: "Reservation") -> None:
        self._set(hold, 0)
        self._holds.pop(hold, None)
        self._wake()

    async def _change(self) -> None:
        """Wait until somebody gives something back."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Reservation:
    """One answer's share of a budget: `size` bytes."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.size = 0

    async def grow_to(self, size: int) -> None:
        """Wait until there is room for so many bytes in all, and hold them."""
        if size > self.size:
            await self._budget._grow(self, size)  # noqa: SLF001  # the two are one thing

    def shrink_to(self, size: int) -> None:
        """Give back what is above so many bytes."""
        self._budget._shrink(self, size)  # noqa: SLF001

    def learn(self) -> None:
        """Let the budget know that this is what an answer takes."""
        self._budget.learn(self.size)

    def release(self) -> None:
        """Give everything back; the answer is done with. Safe to call twice."""
        self._budget._release(self)  # noqa: SLF001
