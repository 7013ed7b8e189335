"""The stand-in's rate limits as a client meets them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOON = 1_700_000_000


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    settings = SimulatorSettings(tasks=1, **limits)
    async with (
        Simulator(settings, clock=SimulatorClock(NOON, speed=0)) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        yield sim, http


def limit_headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("x-ratelimit")}


async def test_the_refusal_is_the_documented_one() -> None:
    head, _, body = (FIXTURES / "error_429.http").read_text().partition("\n\n")
    expected = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    async with limited(requests_per_day=100) as (sim, http):
        sim.clock.set(1762564849 - 86_400)
        for _ in range(100):
            async with http.get("embed/tasks"):
                pass
        sim.clock.set(1762564849 - 11382)
        async with http.get("embed/tasks") as answer:
            received = {name: answer.headers[name] for name in expected}
            assert (answer.status, await answer.text()) == (429, body.strip())
    del expected["x-trace-id"], received["x-trace-id"]
    assert received == expected


async def test_the_limit_opens_again_when_retry_after_has_passed() -> None:
    async with limited(requests_per_minute=1) as (sim, http):
        async with http.get("embed/tasks") as first:
            assert first.status == 200
        sim.clock.advance(20.5)
        async with http.get("embed/tasks") as refused:
            assert (refused.status, refused.headers["retry-after"]) == (429, "40")
        sim.clock.advance(40)
        async with http.get("embed/tasks") as again:
            assert again.status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("embed/tasks", 200), ("embed/tasks?page=0", 400), ("embed/tasks/66f537778d9641fe5a0d101f", 404)],
)
async def test_successes_and_refusals_carry_the_quota(path: str, status: int) -> None:
    async with limited(requests_per_minute=8) as (_, http), http.get(path) as answer:
        assert answer.status == status
        assert limit_headers(answer) == {
            "x-ratelimit-limit": "8",
            "x-ratelimit-remaining": "7",
            "x-ratelimit-used": "1",
            "x-ratelimit-reset": str(NOON + 60),
        }


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_newer_scheme_replaces_the_older_one(*, allowed: bool) -> None:
    async with limited(requests_per_minute=1, header_scheme="newer") as (_, http):
        if not allowed:
            async with http.get("embed/tasks"):
                pass
        async with http.get("embed/tasks") as answer:
            headers = limit_headers(answer)
    assert answer.status == (200 if allowed else 429)
    assert headers["x-ratelimit-dimensions"] == "Duration,Request"
    assert headers["x-ratelimit-request-remaining"] == "0"
    assert "x-ratelimit-limit" not in headers


async def test_without_a_limit_no_quota_is_stated() -> None:
    async with limited() as (_, http), http.get("embed/tasks") as answer:
        assert limit_headers(answer) == {}


async def test_a_request_with_a_wrong_key_is_not_counted() -> None:
    async with limited(requests_per_minute=1, key="any") as (_, http):
        async with http.get("embed/tasks", headers={"x-api-key": "other"}) as refused:
            assert refused.status == 401
        async with http.get("embed/tasks") as answer:
            assert answer.status == 200


async def test_an_upload_counts_like_any_request() -> None:
    async with limited(requests_per_minute=1) as (_, http):
        async with http.get("embed/tasks"):
            pass
        async with http.post("embed/tasks", data=b"x") as answer:
            assert answer.status == 429
