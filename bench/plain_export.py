"""The bare loop that an export is compared with: sqlite3 and pyarrow, the same columns and the same compression."""

import sqlite3
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 8192
COLUMNS = {
    "task_id": pa.string(),
    "position": pa.int64(),
    "model_name": pa.string(),
    "input_type": pa.string(),
    "embedding_option": pa.string(),
    "embedding_scope": pa.string(),
    "start_offset_sec": pa.float64(),
    "end_offset_sec": pa.float64(),
    "start_page": pa.int64(),
    "end_page": pa.int64(),
    "quadrant": pa.string(),
    "chunk_index": pa.int64(),
    "input_filename": pa.string(),
    "input_url": pa.string(),
    "duration": pa.float64(),
    "harvested_at": pa.timestamp("ms", tz="UTC"),
}
STATEMENT = f"SELECT vector, {', '.join(COLUMNS)} FROM segment_vectors WHERE dim = 512 AND model_name = 'marengo3.0'"  # noqa: S608  # fixed names


def main() -> None:
    cursor = sqlite3.connect(sys.argv[1]).execute(STATEMENT)
    kind = pa.list_(pa.float32(), 512)
    schema = pa.schema([("vector", kind), *COLUMNS.items()])
    texts = [name for name, of in COLUMNS.items() if of == pa.string()]
    writer = pq.ParquetWriter(
        sys.argv[2],
        schema,
        compression="zstd",
        use_dictionary=texts,
        use_byte_stream_split=["vector.list.element"],
        write_statistics=list(COLUMNS),
    )
    while rows := cursor.fetchmany(ROWS):
        vectors, *columns = zip(*rows, strict=True)
        numbers = pa.array(np.frombuffer(b"".join(vectors), "<f4"))
        arrays = [pa.array(values, of) for values, of in zip(columns, COLUMNS.values(), strict=True)]
        batch = [pa.FixedSizeListArray.from_arrays(numbers, type=kind), *arrays]
        writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=schema))
    writer.close()


if __name__ == "__main__":
    main()
