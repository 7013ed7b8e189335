"""The database takes little more room than the vectors in it."""

from contextlib import closing
from pathlib import Path

import pytest
from numpy.random import default_rng

from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.connection import open_for_writing
from tests.support.store_builders import add_tasks, claim, embeddings_of, object_id, settle_all, settlement

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("segments", "dim"),
    [(10, 512), (1200, 512), (10, 1024), (1200, 1024)],
    ids=["short, marengo 3.0", "an hour, marengo 3.0", "short, marengo 2.7", "an hour, marengo 2.7"],
)
def test_the_file_grows_by_at_most_a_fifth_more_than_the_raw_vectors(tmp_path: Path, segments: int, dim: int) -> None:
    path, raw_bytes = tmp_path / "harvester.db", segments * dim * 4
    count = 12 * MEBIBYTE // raw_bytes
    open_for_writing(path).close()
    empty_bytes = path.stat().st_size
    assert empty_bytes < 1.5 * MEBIBYTE
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, *(object_id(number) for number in range(count)))
        for task in claim(connection, limit=count):
            vectors = default_rng(task.row_id).standard_normal((segments, dim), "f4")
            settle_all(connection, settlement(task, Retrieved(embeddings_of(vectors))))
    assert path.stat().st_size - empty_bytes <= 1.2 * count * raw_bytes
