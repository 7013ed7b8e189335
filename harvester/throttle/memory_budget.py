"""Limit the bytes of all answers in memory, from the first received byte of each to the end of its commit.

The unit is bytes, not answers: eight short videos take next to nothing, eight of four hours take 370 MB.
"""

import anyio

STEP_BYTES = 1024 * 1024
"""Bytes: a body of unknown length reserves memory in steps of this size."""

TEXT_OF_COMPRESSED = 2.6
"""Length of a text divided by its compressed length: 2.3 to 2.6, from the fastest gzip to the best."""

_FORGETTING = 8
"""After a smaller answer, the expected size falls by the difference divided by this."""


def share_bytes(body_bytes: int, *, is_compressed: bool = False) -> int:
    """Return the peak bytes for a body of this size: the body plus two copies of its vectors and uncertainties.

    They take a third of their text.
    """
    text_bytes = int(body_bytes * TEXT_OF_COMPRESSED) if is_compressed else body_bytes
    return body_bytes + 2 * (text_bytes // 3)


class MemoryBudget:
    """Distributes `total_bytes` to the answers in flight.

    An answer that finds too few bytes left waits, and meanwhile no further request begins. The oldest answer always
    gets the bytes it needs: so one answer can always finish, even if it is larger than the whole budget.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self.expected_bytes = 0
        """The likely bytes of the next answer: close to the largest of the last ones."""
        self._holds: dict[Reservation, None] = {}
        self._waiting = 0
        self._changed: anyio.Event | None = None
        """Exists only while an answer waits: each answer reports three or four changes, and mostly none waits."""

    async def wait_for_room(self) -> None:
        """Wait until the budget has room for an answer of the expected size."""
        while self._waiting or (self._holds and self.held_bytes + self.expected_bytes > self.total_bytes):
            await self._change()

    def take(self) -> "Reservation":
        """Return a reservation of the expected size for one answer; the caller must release it."""
        reservation = Reservation(self)
        self._holds[reservation] = None
        self._set(reservation, self.expected_bytes)
        return reservation

    def learn(self, size: int) -> None:
        """Adjust the expected size to an answer that took `size` bytes."""
        self.expected_bytes = max(size, self.expected_bytes - (self.expected_bytes - size) // _FORGETTING)

    async def _grow(self, reservation: "Reservation", size: int) -> None:
        self._waiting += 1
        try:
            while not (self.held_bytes - reservation.size + size <= self.total_bytes or self._is_oldest(reservation)):
                await self._change()
        finally:
            self._waiting -= 1
            self._wake()
        self._set(reservation, size)

    def _is_oldest(self, reservation: "Reservation") -> bool:
        return next(iter(self._holds), reservation) is reservation

    def _set(self, reservation: "Reservation", size: int) -> None:
        self.held_bytes += size - reservation.size
        reservation.size = size

    def _shrink(self, reservation: "Reservation", size: int) -> None:
        if size < reservation.size:
            self._set(reservation, size)
            self._wake()

    def _release(self, reservation: "Reservation") -> None:
        self._set(reservation, 0)
        self._holds.pop(reservation, None)
        self._wake()

    async def _change(self) -> None:
        """Wait until a reservation shrinks or ends."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Reservation:
    """The `size` bytes of a budget that one answer has reserved."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.size = 0

    async def grow_to(self, size: int) -> None:
        """Wait until the budget has room, then reserve `size` bytes in all; never shrinks."""
        if size > self.size:
            await self._budget._grow(self, size)  # noqa: SLF001  # the two are one thing

    def shrink_to(self, size: int) -> None:
        """Give back all but `size` bytes; never grows."""
        self._budget._shrink(self, size)  # noqa: SLF001

    def learn(self) -> None:
        """Adjust the budget's expected size to this reservation."""
        self._budget.learn(self.size)

    def release(self) -> None:
        """Give all bytes back. Safe to call twice."""
        self._budget._release(self)  # noqa: SLF001
