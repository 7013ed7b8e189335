"""Store learned processing times for the next start and for all processes on one database."""

import math
import sqlite3
from collections.abc import Mapping

from harvester.domain.planning.processing_time import CLASSES, Key, LifeTable, Observation
from harvester.store.sqlite.queries import query


def processing_times(connection: sqlite3.Connection) -> dict[Key, LifeTable]:
    """Return the stored observations."""
    known: dict[Key, LifeTable] = {}
    for model_name, minutes, age_class, *numbers in connection.execute(query("processing_times")):
        # Skip a class that only a newer version knows, and impossible numbers.
        if 0 <= age_class < CLASSES and all(0 <= number < math.inf for number in numbers):
            known.setdefault((model_name, minutes), LifeTable()).add([Observation(age_class, *numbers)])
    return known


def share_processing_times(connection: sqlite3.Connection, fresh: Mapping[Key, LifeTable]) -> dict[Key, LifeTable]:
    """Add the new observations of one process and return all stored ones. The body of one transaction."""
    known = processing_times(connection)
    for key, added in fresh.items():
        seen = known.setdefault(key, LifeTable())
        seen.add(added.observations())
        seen.fade()
        rows = [
            (*key, observation.age_class, observation.finished, observation.exposure_s)
            for observation in seen.observations()
        ]
        connection.executemany(query("set_processing_time"), rows)
    return known
