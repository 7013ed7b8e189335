"""The minimum: aiohttp, orjson, packing in two worker processes, sqlite3 in a thread. No promises of any kind."""

import argparse
import asyncio
import sqlite3
import struct
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import aiohttp
import orjson

AT_ONCE = 8

Row = tuple[str, int, str, str, float, float, bytes]


def decode(body: bytes) -> list[Row]:
    document = orjson.loads(body)
    return [
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


def save(connection: sqlite3.Connection, rows: list[Row]) -> None:
    with connection:
        connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


async def harvest(root: str, ids: list[str], database: Path) -> None:
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("PRAGMA page_size = 32768")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE segments (task_id TEXT, position INTEGER, option TEXT, scope TEXT, start REAL, end REAL, v BLOB)"
    )
    slots, writing, loop = asyncio.Semaphore(AT_ONCE), asyncio.Lock(), asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as pool:
        async with aiohttp.ClientSession(headers={"x-api-key": "bench"}) as session:

            async def one(task_id: str) -> None:
                async with slots:
                    async with session.get(f"{root}/v1.3/embed/tasks/{task_id}") as response:
                        body = await response.read()
                    rows = await loop.run_in_executor(pool, decode, body)
                    async with writing:
                        await asyncio.to_thread(save, connection, rows)

            await asyncio.gather(*map(one, ids))
    connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("ids", type=Path)
    parser.add_argument("database", type=Path)
    arguments = parser.parse_args()
    asyncio.run(harvest(arguments.root, arguments.ids.read_text().split(), arguments.database))
