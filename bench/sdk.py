"""The official SDK: its asynchronous client, 8 requests at once, and sqlite3."""

import argparse
import asyncio
import sqlite3
import struct
from pathlib import Path

from twelvelabs import AsyncTwelveLabs

AT_ONCE = 8


async def harvest(root: str, ids: list[str], database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TABLE segments (task_id TEXT, position INTEGER, option TEXT, scope TEXT, start REAL, end REAL, v BLOB)"
    )
    client, slots = AsyncTwelveLabs(api_key="bench", base_url=f"{root}/v1.3"), asyncio.Semaphore(AT_ONCE)

    async def one(task_id: str) -> None:
        async with slots:
            task = await client.embed.tasks.retrieve(task_id)
        assert task.video_embedding is not None
        rows = [
            (
                task_id,
                position,
                segment.embedding_option,
                segment.embedding_scope,
                segment.start_offset_sec,
                segment.end_offset_sec,
                struct.pack(f"<{len(segment.float_ or [])}f", *(segment.float_ or [])),
            )
            for position, segment in enumerate(task.video_embedding.segments or [])
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
