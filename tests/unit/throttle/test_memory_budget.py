"""Memory for answers: never more than the budget but for one; no answer waits for ever; no bytes are lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.throttle.memory_budget import MemoryBudget, Reservation, share_bytes
from tests.support.thorough import examples

DEFAULT_BYTES = 256 * 1024 * 1024
FOUR_HOURS_BYTES = 46_000_000


@asynccontextmanager
async def trying(wait: Callable[[], Awaitable[None]]) -> AsyncIterator[anyio.Event]:
    """Let `wait` run beside the block; yields what is set once it has returned."""
    done = anyio.Event()

    async def run() -> None:
        await wait()
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        yield done
        group.cancel_scope.cancel()


async def grown(budget: MemoryBudget, size: int) -> Reservation:
    reservation = budget.take()
    with anyio.fail_after(60):
        await reservation.grow_to(size)
    return reservation


async def test_what_fits_is_given_at_once() -> None:
    budget = MemoryBudget(100)
    await grown(budget, 40)
    await grown(budget, 60)
    assert budget.held_bytes == 100


async def test_what_does_not_fit_waits_until_enough_was_given_back() -> None:
    budget = MemoryBudget(100)
    first, second, third = await grown(budget, 50), await grown(budget, 40), budget.take()
    async with trying(lambda: third.grow_to(30)) as done:
        second.shrink_to(30)
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        second.release()
        await anyio.wait_all_tasks_blocked()
        assert (done.is_set(), first.size + third.size) == (True, budget.held_bytes)


async def test_of_the_longest_videos_three_fit_with_their_vectors_and_a_dozen_of_an_hour_do() -> None:
    budget = MemoryBudget(DEFAULT_BYTES)
    for _ in range(3):
        await grown(budget, share_bytes(FOUR_HOURS_BYTES))
    fourth = budget.take()
    async with trying(lambda: fourth.grow_to(share_bytes(FOUR_HOURS_BYTES))) as done:
        assert not done.is_set()
    assert 12 * share_bytes(7_700_000) <= DEFAULT_BYTES


async def test_an_answer_larger_than_the_budget_passes_once_it_is_the_oldest() -> None:
    budget = MemoryBudget(100)
    first, large = await grown(budget, 10), budget.take()
    async with trying(lambda: large.grow_to(1000)) as done:
        assert not done.is_set()
        first.release()
        await anyio.wait_all_tasks_blocked()
        assert done.is_set()


async def test_answers_that_all_need_more_than_is_left_do_not_wait_for_each_other() -> None:
    budget = MemoryBudget(100)
    holds = [await grown(budget, 25) for _ in range(4)]
    ended: list[int] = []

    async def read_on(number: int) -> None:
        await holds[number].grow_to(90)
        ended.append(number)
        holds[number].release()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for number in reversed(range(4)):
                group.start_soon(read_on, number)
    assert (ended[0], sorted(ended), budget.held_bytes) == (0, [0, 1, 2, 3], 0)


async def test_a_request_begins_only_when_an_answer_like_the_last_ones_has_room() -> None:
    budget = MemoryBudget(100)
    first = await grown(budget, 60)
    first.learn()
    async with trying(budget.wait_for_room) as done:
        assert not done.is_set()
        first.release()
        await anyio.wait_all_tasks_blocked()
        assert done.is_set()
    assert budget.take().size == 60


async def test_no_request_begins_while_an_answer_waits_for_memory() -> None:
    budget = MemoryBudget(100)
    first, second = await grown(budget, 50), await grown(budget, 10)
    async with trying(lambda: second.grow_to(90)), trying(budget.wait_for_room) as began:
        assert not began.is_set()
        first.release()
        await anyio.wait_all_tasks_blocked()
        assert began.is_set()


async def test_a_request_may_begin_although_answers_are_larger_than_the_budget() -> None:
    budget = MemoryBudget(100)
    budget.learn(5000)
    with anyio.fail_after(60):
        await budget.wait_for_room()


async def test_an_answer_that_gives_up_waiting_delays_no_other() -> None:
    budget = MemoryBudget(100)
    await grown(budget, 50)
    second = budget.take()
    with anyio.move_on_after(0):
        await second.grow_to(80)
    second.release()
    with anyio.fail_after(60):
        await budget.wait_for_room()
        await grown(budget, 50)
    assert budget.held_bytes == 100


def test_expectations_follow_the_longest_of_the_last_answers() -> None:
    budget = MemoryBudget(100)
    for size in (800, 100):
        budget.learn(size)
    assert 100 < budget.expected_bytes < 800
    for _ in range(100):
        budget.learn(100)
    assert budget.expected_bytes < 110


async def test_giving_back_twice_gives_back_once() -> None:
    budget = MemoryBudget(100)
    first, second = await grown(budget, 50), await grown(budget, 50)
    first.release()
    first.release()
    assert budget.held_bytes == second.size == 50


@examples(60)
@given(st.lists(st.lists(st.integers(1, 150), min_size=1, max_size=4), min_size=1, max_size=8))
@pytest.mark.parametrize("total", [100])
def test_whatever_is_asked_for_all_end_and_at_most_one_goes_beyond_the_budget(
    total: int, bodies: list[list[int]]
) -> None:
    async def run() -> None:
        budget, holds = MemoryBudget(total), list[Reservation]()

        async def receive(pieces: list[int]) -> None:
            await budget.wait_for_room()
            reservation = budget.take()
            holds.append(reservation)
            for piece in pieces:
                await reservation.grow_to(reservation.size + piece)
                oldest = next(one for one in holds if one.size)
                assert budget.held_bytes - oldest.size <= total
                await anyio.lowlevel.checkpoint()
            reservation.release()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for pieces in bodies:
                    group.start_soon(receive, pieces)
        assert budget.held_bytes == 0

    anyio.run(run)
