"""A harvest against the stand-in, seen through its pages."""

from pathlib import Path
from typing import Any

import aiohttp

from harvester.app.wiring import open_harvest
from harvester.service.run_options import StopWhen
from harvester.settings.model import load_settings
from harvester.web import Metrics, WebServer
from tests.support.shell import KEY, stand_in


async def test_what_is_harvested_shows_on_every_page_and_the_key_on_none(tmp_path: Path) -> None:
    metrics = Metrics()
    async with stand_in(tasks=3, duration_s=12.0) as api, aiohttp.ClientSession() as client:
        overrides: dict[str, dict[str, Any]] = {
            "store": {"path": tmp_path / "harvester.db"},
            "api": {"base_url": api.base_url},
            "rate": {"requests_per_minute": 0},
        }
        settings = load_settings(None, overrides, environ={}).settings
        async with open_harvest(
            settings, lambda: KEY, until=StopWhen.ALL_DONE, only=api.catalogue.ids(), observer=metrics
        ) as harvest:
            await harvest.scheduler.run()
            async with WebServer("127.0.0.1:0", None, harvest, metrics) as server:
                pages = {}
                for path in ("/healthz", "/readyz", "/metrics", "/status.json"):
                    async with client.get(server.url + path) as response:
                        assert response.status == 200
                        pages[path] = await response.text()

    assert 'harvester_tasks{state="harvested"} 3.0' in pages["/metrics"]
    assert 'harvester_tasks_ended_total{state="harvested"} 3.0' in pages["/metrics"]
    assert "harvester_ready_to_stored_seconds_count 3.0" in pages["/metrics"]
    assert '"key": "accepted"' in pages["/readyz"]
    assert '"write": {"state": "idle"' in pages["/healthz"]
    assert '"harvested": 3' in pages["/status.json"]
    assert KEY not in "".join(pages.values())
