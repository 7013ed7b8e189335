"""The benches' server sends the same body compressed, as one stream."""

import gzip
import zlib

import orjson

from bench.serve import gzipping, one_of, opening, prepare


async def test_a_compressed_body_is_the_plain_one_with_the_id_of_its_task() -> None:
    ids, bodies = await prepare(6, 30.0, ("visual",))
    gzipped = gzipping(ids, bodies)
    for task_id in ids:
        plain = gzip.decompress(gzipped(task_id))
        assert plain == opening(task_id) + one_of(bodies, task_id)
        assert orjson.loads(plain)["_id"] == task_id


async def test_it_is_one_member_which_is_what_servers_send() -> None:
    ids, bodies = await prepare(1, 30.0, ("visual",))
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    stream.decompress(gzipping(ids, bodies)(ids[0]))
    assert (stream.eof, stream.unused_data) == (True, b"")
