"""Large bodies are decoded in worker processes: the same outcome, and a dead worker is only a passing failure."""

import os
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import numpy as np
import orjson
import pytest

from harvester.api.decode.body import too_large
from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks.outcomes import Invalid, Processing, Retrieved, Transient
from harvester.ports.spooled_body import IN_MEMORY_BYTES, SpooledBody
from harvester.service.decode_pool import Decoder
from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from tests.support.machine import needs_proc

CAP_BYTES = 64 * 1024 * 1024


def large_body() -> bytes:
    settings = SimulatorSettings(tasks=1, duration_s=(300, 300), processing_median_s=0.001, age_s=3600)
    catalogue = Simulator(settings, clock=SimulatorClock(speed=0)).catalogue
    body = catalogue.document(catalogue.ids()[0])
    assert len(body) > IN_MEMORY_BYTES
    return body


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[int]:
    return {
        int(pid)
        for thread in Path("/proc/self/task").iterdir()
        for pid in (thread / "children").read_text().split()
        if b"to_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing in the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_worker_gives_what_decoding_in_place_gives() -> None:
    body = large_body()
    there, here = await Decoder(CAP_BYTES).decode(body, None), decode_retrieval(body, None, CAP_BYTES)
    assert isinstance(there, Retrieved)
    assert isinstance(here, Retrieved)
    assert np.array_equal(there.embeddings.vectors, here.embeddings.vectors)
    assert there.embeddings.vectors.dtype == here.embeddings.vectors.dtype
    assert (there.embeddings.document, there.embeddings.ends) == (here.embeddings.document, here.embeddings.ends)


async def test_vectors_of_double_precision_come_back_whole() -> None:
    document = orjson.loads(large_body())
    for segment in document["video_embedding"]["segments"]:
        segment["float"][7] = 0.1234567890123456
    outcome = await Decoder(CAP_BYTES).decode(orjson.dumps(document), None)
    assert isinstance(outcome, Retrieved)
    assert outcome.embeddings.vectors.dtype == np.float64
    assert set(outcome.embeddings.vectors[:, 7].tolist()) == {0.1234567890123456}


@pytest.mark.parametrize("number", [0.5, 0.1234567890123456])
async def test_uncertainties_come_back_beside_the_vectors(number: float) -> None:
    dim, rows = 501, range(601)
    segments = [{"embedding": [0.5 + row] * dim} for row in rows]
    for row in rows[1:]:
        segments[row]["embedding_uncertainty"] = [number + row] * dim
    body = orjson.dumps({"_id": "1", "status": "ready", "data": segments})
    there = await Decoder(CAP_BYTES).decode(body, None)
    assert isinstance(there, Retrieved)
    one = there.embeddings
    assert one.uncertainties is not None
    assert (one.vectors[:, -1].tolist(), list(one.uncertainties.positions)) == (
        [0.5 + row for row in rows],
        [*rows[1:]],
    )
    assert one.uncertainties.vectors[:, 0].tolist() == [number + row for row in rows[1:]]
    assert one.number_bytes == one.vectors.nbytes + one.uncertainties.vectors.nbytes


async def test_a_compressed_body_is_decompressed_by_the_worker() -> None:
    body = zlib.compress(large_body(), 6, zlib.MAX_WBITS | 16)
    assert len(body) > IN_MEMORY_BYTES
    assert isinstance(await Decoder(CAP_BYTES).decode(body, "gzip"), Retrieved)


@needs_proc
async def test_a_short_body_that_becomes_a_long_one_is_left_to_a_worker() -> None:
    short = zlib.compress(b" " * 4_000_000 + b'{"status": "processing"}', 9, zlib.MAX_WBITS | 16)
    assert len(short) < IN_MEMORY_BYTES
    before = children()
    outcomes = [await Decoder(cap_bytes).decode(short, "gzip") for cap_bytes in (CAP_BYTES, 1000)]
    assert outcomes == [Processing("processing"), too_large(1000).outcome]
    assert len(children() - before) == 1


async def test_what_a_worker_refuses_comes_back_with_its_reason() -> None:
    document = orjson.loads(large_body())
    document["video_embedding"]["segments"][5]["float"].pop()
    outcome = await Decoder(CAP_BYTES).decode(orjson.dumps(document), None)
    assert outcome == Invalid("segments[5].float: 511 numbers, expected 512.", "segments_invalid")


@needs_proc
async def test_a_worker_that_dies_costs_one_attempt_and_the_pool_is_whole_again() -> None:
    decoder, body = Decoder(CAP_BYTES, workers=1), large_body()
    before = children()
    await decoder.decode(body, None)
    (worker,) = children() - before
    os.kill(worker, signal.SIGSTOP)
    outcomes = []

    async def decode() -> None:
        outcomes.append(await decoder.decode(body, None))

    async with anyio.create_task_group() as group:
        group.start_soon(decode)
        await anyio.wait_all_tasks_blocked()
        os.kill(worker, signal.SIGKILL)
    assert outcomes == [Transient("The process that decoded the answer died.", "decode_worker_died")]
    assert isinstance(await decoder.decode(body, None), Retrieved)


@needs_proc
async def test_a_worker_survives_the_ctrl_c_of_the_terminal() -> None:
    decoder, body = Decoder(CAP_BYTES, workers=1), large_body()
    before = children()
    await decoder.decode(body, None)
    (worker,) = children() - before
    os.kill(worker, signal.SIGINT)
    assert isinstance(await decoder.decode(body, None), Retrieved)
    assert worker in children()


async def test_without_a_descriptor_for_the_exchange_the_body_is_asked_for_again() -> None:
    decoder, received = Decoder(CAP_BYTES, workers=1), SpooledBody.of(large_body())
    short = zlib.compress(b" " * 4_000_000, 9, zlib.MAX_WBITS | 16)
    await decoder.decode(large_body(), None)
    with no_descriptor_left():
        # The worker has its own: the first fails when its vectors are mapped, the others when a file is to be made.
        outcomes = [await decoder.decode(body, "gzip" if body is short else None) for body in (received, short)]
        outcomes.append(await decoder.decode(large_body(), None))
    assert [(type(outcome), outcome.code) for outcome in outcomes] == 3 * [(Transient, "decode_impossible")]
    assert isinstance(await decoder.decode(large_body(), None), Retrieved)


@needs_proc
@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_no_descriptor_is_left_open(encoding: str | None) -> None:
    decoder, body = Decoder(CAP_BYTES, workers=1), large_body()
    await decoder.decode(body, encoding)
    before = open_descriptors()
    for _ in range(3):
        await decoder.decode(body, encoding)
    assert open_descriptors() == before


def test_a_worker_loads_nothing_heavy_before_it_ignores_a_ctrl_c() -> None:
    loaded = "import sys, harvester.service.worker_entry; print('numpy' in sys.modules, 'orjson' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert said.stdout == "False False\n"
