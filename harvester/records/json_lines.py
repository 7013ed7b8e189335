"""JSON lines of the common record."""

import math
from typing import Any, BinaryIO

import numpy as np
import orjson

from harvester.domain.results.vectors import ResultTask, VectorBatch

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


class JsonLinesWriter:
    """Writes one record a line; numbers of vectors in their shortest form that is the same float32."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: VectorBatch) -> None:
        """Write the rows. Raises OSError."""
        matrix = np.ascontiguousarray(batch.matrix, np.float32)
        rows = zip(
            *(batch.task_index.tolist(), batch.positions.tolist(), batch.options, batch.scopes),
            *(batch.starts.tolist(), batch.ends.tolist()),
            *(batch.start_pages, batch.end_pages, batch.quadrants, batch.chunk_indexes),
            strict=True,
        )
        tasks = list(batch.tasks)
        for number, (task, *places) in enumerate(rows):
            self._file.write(orjson.dumps(_record(tasks[task], matrix[number], *places), option=_OPTIONS))

    def finish(self) -> None:
        """Do nothing: the last line is written."""

    def abandon(self) -> None:
        """Do nothing: there is nothing to free."""


def _record(task: ResultTask, vector: Any, position: int, *places: Any) -> dict[str, Any]:
    option, scope, start, end, start_page, end_page, quadrant, chunk = places
    return {
        "id": f"{task.task_id}:{position}",
        "vector": vector,
        "task_id": task.task_id,
        "position": position,
        "model_name": task.model_name,
        "input_type": task.input_type,
        "embedding_option": option,
        "embedding_scope": scope,
        "start_offset_sec": None if math.isnan(start) else start,
        "end_offset_sec": None if math.isnan(end) else end,
        "start_page": start_page,
        "end_page": end_page,
        "quadrant": quadrant,
        "chunk_index": chunk,
        "input_filename": task.input_filename,
        "input_url": task.input_url,
        "duration": task.duration,
        "harvested_at": task.harvested_at,
        "labels": dict(task.labels),
    }
