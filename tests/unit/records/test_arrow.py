"""The common record in Arrow: each column with its type, and nothing between None and a value."""

import numpy as np
import pyarrow as pa

from harvester.domain.results.vectors import ResultTask, TaskColumns, VectorBatch, VectorSpace
from harvester.records.arrow import arrow_schema, to_record_batch

SPACE = VectorSpace("marengo3.5", 2)
A = ResultTask("a", "marengo3.5", "video", "a.mp4", None, 12.5, 1_760_000_000_123, {"show": "x", "season": "3"})
B = ResultTask("b", "marengo3.5", "document", None, "https://example.org/b.pdf", None, 1_760_000_000_456, {})


def batch(matrix: np.ndarray | None = None) -> VectorBatch:
    """Two rows of one task and one of another."""
    return VectorBatch(
        space=SPACE,
        matrix=np.array([[0.25, -1.5], [0, 1], [3, 4]], np.float32) if matrix is None else matrix,
        tasks=TaskColumns.of([A, B]),
        task_index=np.array([0, 0, 1], np.int32),
        positions=np.array([3, 4, 0], np.int64),
        options=["visual", None, "visual-text"],
        scopes=["clip", "asset", "page"],
        starts=np.array([0.0, np.nan, np.nan]),
        ends=np.array([6.0, np.nan, np.nan]),
        start_pages=[None, None, 1],
        end_pages=[None, None, 2],
        quadrants=[None, None, "top-left"],
        chunk_indexes=[None, 7, None],
    )


EXPECTED = [
    {
        "id": "a:3",
        "vector": [0.25, -1.5],
        "task_id": "a",
        "position": 3,
        "model_name": "marengo3.5",
        "input_type": "video",
        "embedding_option": "visual",
        "embedding_scope": "clip",
        "start_offset_sec": 0.0,
        "end_offset_sec": 6.0,
        "start_page": None,
        "end_page": None,
        "quadrant": None,
        "chunk_index": None,
        "input_filename": "a.mp4",
        "input_url": None,
        "duration": 12.5,
        "labels": [("show", "x"), ("season", "3")],
    },
    {
        "id": "a:4",
        "vector": [0.0, 1.0],
        "task_id": "a",
        "position": 4,
        "model_name": "marengo3.5",
        "input_type": "video",
        "embedding_option": None,
        "embedding_scope": "asset",
        "start_offset_sec": None,
        "end_offset_sec": None,
        "start_page": None,
        "end_page": None,
        "quadrant": None,
        "chunk_index": 7,
        "input_filename": "a.mp4",
        "input_url": None,
        "duration": 12.5,
        "labels": [("show", "x"), ("season", "3")],
    },
    {
        "id": "b:0",
        "vector": [3.0, 4.0],
        "task_id": "b",
        "position": 0,
        "model_name": "marengo3.5",
        "input_type": "document",
        "embedding_option": "visual-text",
        "embedding_scope": "page",
        "start_offset_sec": None,
        "end_offset_sec": None,
        "start_page": 1,
        "end_page": 2,
        "quadrant": "top-left",
        "chunk_index": None,
        "input_filename": None,
        "input_url": "https://example.org/b.pdf",
        "duration": None,
        "labels": [],
    },
]


def test_every_column_of_the_common_record_is_there() -> None:
    found = to_record_batch(batch(), arrow_schema(SPACE))

    found.validate(full=True)
    times = found.column("harvested_at").cast(pa.int64()).to_pylist()
    assert times == [A.harvested_at, A.harvested_at, B.harvested_at]
    assert found.drop_columns(["harvested_at"]).to_pylist() == EXPECTED


def test_the_types_are_those_of_the_contract() -> None:
    schema = arrow_schema(SPACE, {"harvester.dim": "2"})

    assert schema.field("vector").type == pa.list_(pa.float32(), 2)
    assert schema.field("harvested_at").type == pa.timestamp("ms", tz="UTC")
    assert schema.field("labels").type == pa.map_(pa.string(), pa.string())
    assert schema.metadata == {b"harvester.dim": b"2"}


def test_numbers_of_double_precision_become_float32() -> None:
    exact = np.array([[0.1, 1e-9], [0, 1], [3, 4]], np.float64)

    found = to_record_batch(batch(exact), arrow_schema(SPACE)).column("vector").flatten().to_numpy()

    assert found.tolist() == exact.astype(np.float32).reshape(-1).tolist()
