"""A program that takes an hour to write: aiohttp, json of the standard library, sqlite3. No promises of any kind."""

import argparse
import asyncio
import json
import sqlite3
import struct
from pathlib import Path

import aiohttp

AT_ONCE = 8


async def harvest(root: str, ids: list[str], database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TABLE segments (task_id TEXT, position INTEGER, option TEXT, scope TEXT, start REAL, end REAL, v BLOB)"
    )
    slots = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(headers={"x-api-key": "bench"}) as session:

        async def one(task_id: str) -> None:
            async with slots, session.get(f"{root}/v1.3/embed/tasks/{task_id}") as response:
                document = json.loads(await response.read())
            rows = [
                (
                    document["_id"],
                    position,
                    segment["embedding_option"],
                    segment["embedding_scope"],
                    segment["start_offset_sec"],
                    segment["end_offset_sec"],
                    struct.pack(f"<{len(segment['float'])}f", *segment["float"]),
                )
                for position, segment in enumerate(document["video_embedding"]["segments"])
            ]
            with connection:
                connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

        await asyncio.gather(*map(one, ids))
    connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("ids", type=Path)
    parser.add_argument("database", type=Path)
    arguments = parser.parse_args()
    asyncio.run(harvest(arguments.root, arguments.ids.read_text().split(), arguments.database))
