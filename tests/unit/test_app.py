from pathlib import Path

import pytest

from harvester.app.wiring import open_harvest
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.settings.model import Settings


@pytest.mark.parametrize(("version", "is_held"), [("v1", False), ("v2", True)])
async def test_where_one_call_gives_status_and_result_a_429_holds_both(
    tmp_path: Path, version: str, *, is_held: bool
) -> None:
    settings = Settings.model_validate({"store": {"path": tmp_path / "harvester.db"}, "api": {"version": version}})
    async with open_harvest(settings, lambda: "key") as harvest:
        harvest.throttle.learn(Endpoint.RETRIEVE, 429, LimitReport(retry_after_s=600))
        assert (harvest.throttle.blocked_s(Endpoint.STATUS) > 0) is is_held
