"""The common record in Arrow: its schema, and record batches of it. Importing this loads pyarrow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harvester.domain.results.vectors import VectorBatch, VectorSpace

VECTOR = "vector"


def arrow_schema(space: VectorSpace, metadata: Mapping[str, str] | None = None, *, exact: bool = False) -> pa.Schema:
    """Return the schema of the records of one space; `metadata` says what a file holds; `exact` vectors are float64."""
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field(VECTOR, pa.list_(number if exact else pa.float32(), space.dim), nullable=False),
            pa.field("task_id", text, nullable=False),
            pa.field("position", whole, nullable=False),
            pa.field("model_name", text),
            pa.field("input_type", text),
            pa.field("embedding_option", text),
            pa.field("embedding_scope", text),
            pa.field("start_offset_sec", number),
            pa.field("end_offset_sec", number),
            pa.field("start_page", whole),
            pa.field("end_page", whole),
            pa.field("quadrant", text),
            pa.field("chunk_index", whole),
            pa.field("input_filename", text),
            pa.field("input_url", text),
            pa.field("duration", number),
            pa.field("harvested_at", pa.timestamp("ms", tz="UTC"), nullable=False),
            pa.field("labels", pa.map_(text, text)),
        ],
        metadata=dict(metadata) if metadata else None,
    )


def to_arrow_table(batches: Iterable[VectorBatch], schema: pa.Schema) -> pa.Table:
    """Return the rows of the batches as one table, which shares their matrices."""
    return pa.Table.from_batches([to_record_batch(batch, schema) for batch in batches], schema)


def to_record_batch(batch: VectorBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows as Arrow columns; a matrix of the schema's numbers is not copied, so nothing may change it."""
    text, tasks = pa.string(), batch.tasks
    rows = pa.array(batch.task_index)
    vector = schema.field(VECTOR).type
    matrix = np.ascontiguousarray(batch.matrix, vector.value_type.to_pandas_dtype())

    def of_task(name: str, kind: pa.DataType = text) -> pa.Array:
        return pa.array(tasks.column(name), kind).take(rows)

    columns = {
        VECTOR: pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), type=vector),
        "task_id": of_task("task_id"),
        "position": pa.array(batch.positions),
        "model_name": of_task("model_name"),
        "input_type": of_task("input_type"),
        "embedding_option": pa.array(batch.options, text),
        "embedding_scope": pa.array(batch.scopes, text),
        "start_offset_sec": _offsets(batch.starts),
        "end_offset_sec": _offsets(batch.ends),
        "start_page": _integers(batch.start_pages),
        "end_page": _integers(batch.end_pages),
        "quadrant": pa.array(batch.quadrants, text),
        "chunk_index": _integers(batch.chunk_indexes),
        "input_filename": of_task("input_filename"),
        "input_url": of_task("input_url"),
        "duration": of_task("duration", pa.float64()),
        "harvested_at": of_task("harvested_at", pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
        "labels": _labels(tasks.column("labels")).take(rows),
    }
    columns["id"] = pc.binary_join_element_wise(columns["task_id"], columns["position"].cast(text), ":")
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _offsets(seconds: Any) -> pa.Array:
    """Return the offsets; NaN becomes null."""
    return pa.array(seconds, from_pandas=True)


def _integers(values: Sequence[int | None]) -> pa.Array:
    return pa.array(values, pa.int64())


def _labels(labels: Sequence[Mapping[str, str]]) -> pa.Array:
    return pa.array([list(one.items()) for one in labels], pa.map_(pa.string(), pa.string()))
