"""Whether two lists show the same tasks is seen from the first page of the second."""

import pytest

from harvester.domain.planning.list_reader import PAGE_LIMIT, ListPage
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Ready
from harvester.service.account_lists import SETTLED_MS, AccountLists, ListedBefore

NOW = 1_760_000_000_000
SINCE = NOW - 1_000 * SETTLED_MS


def at(minutes: int) -> int:
    return NOW - minutes * SETTLED_MS


def before(*minutes: int) -> ListedBefore:
    return ListedBefore({f"task-{one}": at(one) for one in minutes}, SINCE, NOW)


def page(*minutes: int, total: int | None = None) -> ListPage:
    tasks = [ListedTask(f"task-{one}", Ready(), MediaMetadata(created_at_ms=at(one))) for one in minutes]
    return ListPage(tasks, len(tasks), total)


@pytest.mark.parametrize(
    ("shown", "is_same"),
    [
        ((5, 6, 7), True),
        ((6, 7), False),
        ((5, 6, 7, 8), False),
        ((), False),
        # Made since the other list was read.
        ((0, 5, 6, 7), True),
    ],
)
def test_a_whole_page_shows_the_same_tasks_or_not(shown: tuple[int, ...], *, is_same: bool) -> None:
    assert before(5, 6, 7).agrees_with(page(*shown)) is is_same


def test_a_full_page_is_compared_as_far_as_it_reaches() -> None:
    minutes = range(5, 5 + PAGE_LIMIT)
    assert before(*minutes, 400).agrees_with(page(*minutes, total=51))
    assert not before(*minutes, 20_000).agrees_with(page(*minutes[1:], 60, total=51))


def test_a_list_that_announces_more_tasks_than_the_other_has_shown_is_another_one() -> None:
    minutes = range(5, 5 + PAGE_LIMIT)
    assert before(*minutes).agrees_with(page(*minutes, total=PAGE_LIMIT))
    assert not before(*minutes).agrees_with(page(*minutes, total=PAGE_LIMIT + 30))
    assert not before(*minutes).agrees_with(page(*minutes))


def test_two_empty_lists_say_nothing() -> None:
    assert not before().agrees_with(page())


def test_one_list_is_enough_once_both_are_known_to_be_the_same() -> None:
    read = [AccountLists(("v2", "v1"), are_same=is_same).to_read for is_same in (False, True)]
    assert read == [("v2", "v1"), ("v2",)]
