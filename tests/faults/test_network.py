"""Rows 1 to 6: the network breaks. A broken answer is fetched again, and nothing of it is stored."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from harvester.simulator import Fault
from tests.faults.harvests import harvest_after
from tests.faults.invariants import assert_kept, said_about
from tests.support.shell import Shell, retrieved, stand_in


async def test_row_01_a_connection_reset_in_the_middle_of_a_body_is_retried(shell: Shell) -> None:
    kinds = {
        "reset": "connection_lost",
        "length_too_large": "connection_lost",
        "not_http": "protocol_error",
        "length_too_small": "body_cut",
    }
    async with stand_in(tasks=7, duration_s=12, gzip=False) as api:
        # The rest of a body that arrives late would hit the next request on its connection: none follows the last.
        ids = api.catalogue.ids()
        hit = dict(zip([*ids[1:4], ids[-1]], kinds, strict=True))
        for task_id, kind in hit.items():
            api.faults.add(Fault(kind=kind, tasks=(task_id,), times=1))

        first = await harvest_after(shell, api, {task_id: kinds[kind] for task_id, kind in hit.items()})

        assert api.faults.served == dict.fromkeys(kinds, 1)
        assert api.requests.count() == 7 + 4
    assert "Traceback" not in first.stderr
    (reset, *_) = hit
    (said,) = said_about(shell, reset)
    assert said[1].startswith("The connection broke: ")


async def test_row_02_a_body_that_stalls_frees_its_slot_after_the_read_time_out(shell: Shell) -> None:
    shell.environ |= {"HARVESTER_API__READ_TIMEOUT_S": "2", "HARVESTER_HARVEST__CONCURRENCY": "2"}
    async with stand_in(tasks=8, duration_s=12) as api:
        # The two that are asked about first take both slots.
        stalled, silent, dripping = api.catalogue.ids()[:3]
        api.faults.add(
            Fault(kind="stall", tasks=(stalled,), times=1),
            Fault(kind="silence", tasks=(silent,), times=1),
            Fault(kind="drip", tasks=(dripping,), value="3"),
        )

        await harvest_after(shell, api, dict.fromkeys((stalled, silent), "read_timeout"))

        assert api.faults.served == {"stall": 1, "silence": 1, "drip": 1}
    assert said_about(shell, stalled)[0][1].startswith("The answer stalled: ")


async def test_row_03_a_body_of_no_announced_length_that_is_cut_is_retried(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12, gzip=False) as api:
        hit = api.catalogue.ids()[2]
        api.faults.add(Fault(kind="cut_without_length", tasks=(hit,), times=1))

        await harvest_after(shell, api, {hit: "body_cut"})

        assert api.faults.served == {"cut_without_length": 1}
    assert " was cut" in said_about(shell, hit)[0][1]


async def test_row_04_a_gzip_stream_that_is_cut_is_retried(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=150) as api:
        hit = api.catalogue.ids()[:2]
        for task_id, kind in zip(hit, ("cut_gzip", "cut_without_length"), strict=True):
            api.faults.add(Fault(kind=kind, tasks=(task_id,), times=1))

        await harvest_after(shell, api, dict.fromkeys(hit, "body_cut"))

        assert api.faults.served == {"cut_gzip": 1, "cut_without_length": 1}
    for task_id in hit:
        assert said_about(shell, task_id) == [("body_cut", "The compressed body was cut.")]


def self_signed(folder: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("only openssl can make a certificate here")
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    host = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *request, *host, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def test_row_05_a_failed_name_lookup_or_untrusted_tls_is_backed_off_and_never_waved_through(
    shell: Shell, tmp_path: Path
) -> None:
    heads = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.read(1 << 16))
        writer.close()

    async with stand_in(tasks=3, duration_s=12) as api:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=self_signed(tmp_path))
        places = {
            "tls_failed": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1.3",
            "name_lookup_failed": "https://harvester.invalid/v1.3",
        }
        async with server:
            for code, place in places.items():
                shell.talks_to(place)
                ended = await shell.run("backfill", *api.catalogue.ids(), "--deadline", "3s")

                assert (ended.code, "3 still to do" in ended.stderr) == (1, True), ended.stderr
                assert {code} == set(*zip(*shell.rows("SELECT error_code FROM tasks"), strict=True))
                assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))
        assert heads == []
        # Full jitter: the tries of three seconds are few.
        (tries,) = shell.rows("SELECT count(*) FROM attempts")[0]
        assert 6 <= tries <= 60

        shell.talks_to(api.base_url)
        again = await shell.run("backfill", "--no-wait")

        assert again.code == 0, again.stderr
        assert_kept(shell, api)


async def test_row_06_what_is_sent_again_on_a_stale_connection_is_charged_to_the_budget(shell: Shell) -> None:
    interval_s, count, stale = 0.1, 12, 6
    shell.environ |= {"HARVESTER_RATE__REQUESTS_PER_MINUTE": "600", "HARVESTER_HARVEST__CONCURRENCY": "1"}
    async with stand_in(tasks=count, duration_s=12) as api:
        for task_id in api.catalogue.ids()[1 : 1 + stale]:
            api.faults.add(Fault(kind="dropped", tasks=(task_id,), times=1))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert len(retrieved(api)) == count + stale
        assert {(1,)} == set(shell.rows("SELECT attempts FROM tasks"))  # only the connection has noticed
        at = [one.at for one in api.requests]
        # Each of the requests under way is followed by its interval; the last one is by none.
        assert at[-1] - at[0] >= (count + stale - 2) * interval_s
