"""The status that a running harvest serves is that of `harvester status`, by the settings in force."""

import time
from contextlib import closing
from pathlib import Path

from harvester.app.status import read_status
from harvester.app.stores import open_insights
from harvester.app.wiring import open_harvest
from harvester.domain.tasks.task import DAY_MS
from harvester.settings.model import RateSettings, Settings, StoreSettings
from harvester.store.sqlite.connection import open_for_writing
from tests.support.store_builders import add_tasks, object_id

OLD_S = 6 * DAY_MS // 1000


async def test_a_reloaded_rate_changes_the_forecast(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    path = tmp_path / "harvester.db"
    with closing(open_for_writing(path)) as connection:
        add_tasks(
            connection, *(object_id(number, created_ms=now_ms - 1000 * OLD_S) for number in range(300)), now_ms=now_ms
        )
    slow, fast = (
        Settings(store=StoreSettings(path=path), rate=RateSettings(requests_per_minute=rate)) for rate in (0.1, 60)
    )

    async with open_harvest(slow, lambda: "rehearsal") as harvest:
        with harvest.reader.insights() as insights:
            _, before = harvest.read_status(insights, now_ms)
        harvest.reload(fast)
        with harvest.reader.insights() as insights:
            _, after = harvest.read_status(insights, now_ms)

    with open_insights(path) as insights:
        _, printed = read_status(insights, fast, now_ms)
    assert before.at_risk > 100
    assert (after.at_risk, after.finish_ms) == (0, printed.finish_ms)
