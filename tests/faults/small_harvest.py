"""A harvest without network and clock, quick enough to be killed hundreds of times."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import default_rng

from harvester.domain.errors import StoreError
from harvester.domain.tasks.outcomes import Invalid, Outcome, Retrieved
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.sqlite_errors import PASSING_PROBLEMS, primary_code
from tests.support.store_builders import NOW, add_tasks, claim, embeddings_of, object_id, settle_all, settlement

T = TypeVar("T")

IDS = [object_id(number) for number in range(5)]
AT_A_TIME = 2
UNACCEPTABLE = IDS[3]
"""This one's result is rejected, and its body kept."""

TRIES = 3
"""Attempts after which a lasting error is given up."""


def harvest(
    path: Path, acknowledge: Callable[[str], object], *, now_ms: int = NOW, checkpoint_pages: int = 4
) -> list[str]:
    """Harvest what is still to do; return the tasks that were downloaded for it.

    With so few pages they move from the log into the file all the time, and not only at the end.
    """
    downloaded = []
    with closing(open_for_writing(path)) as connection:
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        repeat_while_busy(lambda: add_tasks(connection, *IDS))
        while tasks := repeat_while_busy(lambda: claim(connection, now_ms=now_ms, limit=AT_A_TIME)):
            downloaded += [task.task_id for task in tasks]
            store(connection, [result(task) for task in tasks])
            for task in tasks:
                acknowledge(task.task_id)
    return downloaded


def store(connection: sqlite3.Connection, results: Iterable[Settlement]) -> None:
    group = list(results)
    repeat_while_busy(lambda: settle_all(connection, *group))


def repeat_while_busy(write: Callable[[], T]) -> T:
    """Repeat an operation after passing errors, as the service does, but at once and not for ever."""
    for _ in range(TRIES - 1):
        try:
            return write()
        except sqlite3.Error as error:
            if primary_code(error) not in PASSING_PROBLEMS:
                raise
    return write()


def result(task: Task) -> Settlement:
    """Return the API's result for a task: other vectors for each task, the same at any time."""
    if task.task_id == UNACCEPTABLE:
        return settlement(replace(task, invalid=2), Invalid("no numbers"), body=b"{}")
    number = IDS.index(task.task_id)
    vectors = default_rng(number).standard_normal((6 + number, 512), np.float32)
    outcome: Outcome = Retrieved(embeddings_of(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    return settlement(task, outcome)


def harvest_for(database: Path, said: Path, **options: int) -> None:
    """Harvest, and write into a file which results were acknowledged; exits with 4 where the database fails."""
    file = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        harvest(database, lambda task_id: os.write(file, f"{task_id}\n".encode()), **options)
    except (StoreError, sqlite3.Error):
        sys.exit(4)


def acknowledged(said: Path) -> set[str]:
    """Return the tasks whose results were acknowledged, according to the file."""
    return set(said.read_text().splitlines())
