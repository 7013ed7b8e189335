import pytest

from harvester.store.sqlite.maintenance.sqlite_version import Release, is_too_old, may_lose_wal_reset, shown


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((3, 53, 1), False),
    ],
)
def test_the_releases_with_the_wal_reset_bug_are_known(release: Release, *, expected: bool) -> None:
    assert may_lose_wal_reset(release) == expected


def test_strict_tables_need_3_37() -> None:
    assert [is_too_old(release) for release in ((3, 36, 9), (3, 37, 0))] == [True, False]
    assert shown((3, 37, 0)) == "3.37.0"
