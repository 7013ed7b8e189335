"""A loop that takes ten minutes to write: json of the standard library and sqlite3. No checks, no promises."""

import json
import sqlite3
import struct
import sys
from pathlib import Path


def store(folder: Path, database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TABLE segments (file TEXT, position INTEGER, option TEXT, scope TEXT, start REAL, end REAL, v BLOB)"
    )
    for path in sorted(folder.rglob("*.json")):
        rows = [
            (
                str(path),
                position,
                segment["embeddingOption"],
                segment["embeddingScope"],
                segment["startSec"],
                segment["endSec"],
                struct.pack(f"<{len(segment['embedding'])}f", *segment["embedding"]),
            )
            for position, segment in enumerate(json.loads(path.read_bytes())["data"])
        ]
        with connection:
            connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()


if __name__ == "__main__":
    store(Path(sys.argv[1]), Path(sys.argv[2]))
