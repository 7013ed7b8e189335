"""Add the checksum of the content to tasks that an older version stored, in batches."""

import sqlite3

from harvester.ports.maintenance import Covered
from harvester.store.sqlite.content import read_content, vectors_of
from harvester.store.sqlite.queries import query

BATCH_TASKS = 64
BATCH_SEGMENTS = 8192
"""Segments of a batch: 16 MB of vectors, which take the writer's thread about 20 ms."""


def cover(connection: sqlite3.Connection, after_task: int) -> Covered | None:
    """Compute missing checksums of tasks after that row id; None if there are none. The body of one transaction.

    It skips tasks whose vectors are not the received ones, because a checksum must not confirm damage.
    """
    found = connection.execute(query("without_checksum"), {"after": after_task, "limit": BATCH_TASKS}).fetchall()
    if not found:
        return None
    count = segments = last_task = 0
    for task, task_id, segment_count in found:
        stored = read_content(connection, task, task_id, vectors_of(connection, task))
        if stored.has_right_vectors:
            checksum = stored.content.checksum()
            connection.execute(query("set_checksum"), {"task": task, "content_blake2b": checksum})
            count += 1
        segments, last_task = segments + segment_count, task
        if segments >= BATCH_SEGMENTS:
            break
    return Covered(count, last_task)
