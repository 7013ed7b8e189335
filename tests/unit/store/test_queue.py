"""The queue where only SQLite does so; what any store does is in tests/conformance/test_claims.py."""

from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks.records import LONGEST_SLEEP_MS
from harvester.domain.tasks.task import DAY_MS
from harvester.store.sqlite import queue
from tests.support.store_builders import NOW, object_id, throwaway_database
from tests.support.thorough import examples


@examples(60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["pending", "ready", "harvested"]),
            st.sampled_from([None, -1, 0, 1, NOW + DAY_MS]),
            st.sampled_from([0, 1, NOW, NOW + 1, NOW + queue.LONGEST_WAIT_MS + 1, NOW + LONGEST_SLEEP_MS + 1]),
            st.sampled_from([None, "other"]),
        ),
        max_size=3,
    ),
    make_due=st.booleans(),
    lapsed=st.booleans(),
)
def test_upkeep_is_needed_exactly_where_it_changes_something(
    rows: list[tuple[str, int | None, int, str | None]], *, make_due: bool, lapsed: bool
) -> None:
    with throwaway_database() as connection:
        connection.executemany(
            "INSERT INTO tasks (task_id, state, expires_at, next_attempt_at, lease_owner) VALUES (?, ?, ?, ?, ?)",
            [(object_id(number), *row) for number, row in enumerate(rows)],
        )
        is_needed = queue.needs_upkeep(connection, NOW, make_due=make_due, lapsed=lapsed)
        before = connection.total_changes
        queue.import_inserted_rows(connection, NOW)
        if make_due:
            queue.make_due(connection, NOW, lapsed=lapsed)
        assert is_needed == (connection.total_changes > before)
        assert not queue.needs_upkeep(connection, NOW, make_due=make_due, lapsed=lapsed)
