"""Rows 50 and 52: the machine's limits, and the proxy and the certificates that its variables name."""

import asyncio
import shutil
import ssl
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from yarl import URL

from harvester.simulator import Simulator
from tests.faults.invariants import assert_kept, said_about
from tests.support.shell import KEY, Shell, stand_in
from tests.support.thorough import thorough

HOST = "api.harvester.invalid"
LONG_S = 1800
"""A video of this length has a body that goes into a file."""

NO_MEMORY_FILES = """
import os
def refuse(*_):
    raise PermissionError(13, "Permission denied")
os.memfd_create = refuse
"""
NO_PLACE = """
import tempfile
def full(*_, **__):
    raise OSError(28, "No space left on device")
tempfile.mkstemp = full
"""
NO_SOCKETS = """
import os, socket
whole = socket.socket
class Refused(whole):
    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is None and family == socket.AF_INET and {condition}:
            raise OSError(24, "Too many open files")
        super().__init__(family, type, proto, fileno)
socket.socket = Refused
"""


async def test_row_50_without_files_in_memory_a_long_body_takes_a_temporary_file(shell: Shell) -> None:
    shell.sabotage(NO_MEMORY_FILES)
    folder = shell.folder / "temporary"
    folder.mkdir()
    async with stand_in(tasks=2, duration_s=LONG_S) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait", TMPDIR=str(folder))

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert len(api.requests) == 2
    assert list(folder.iterdir()) == []


async def test_row_50_where_a_long_body_has_no_place_this_machine_is_named_and_not_the_network(shell: Shell) -> None:
    shell.sabotage(NO_MEMORY_FILES + NO_PLACE)
    async with stand_in(tasks=1, duration_s=LONG_S) as api:
        shell.talks_to(api.base_url)
        (task_id,) = api.catalogue.ids()

        ended = await shell.run("backfill", task_id, "--no-wait")

        assert ended.code == 1, ended.stderr
        ((code, message), *_) = said_about(shell, task_id)
        assert (code, "No space left on device" in message) == ("machine_refuses", True)
        shell.sabotage("")
        again = await shell.run("backfill")
        assert again.code == 0, again.stderr
        assert_kept(shell, api)


async def test_row_50_a_socket_that_is_refused_is_this_machines_trouble(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=12) as api:
        shell.talks_to(api.base_url)
        shell.sabotage(NO_SOCKETS.format(condition=f"not os.path.exists({str(shell.folder / 'free')!r})"))

        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")

        assert ended.code == 1, ended.stderr
        for task_id in api.catalogue.ids():
            assert {"machine_refuses"} == {code for code, _ in said_about(shell, task_id)}
        (shell.folder / "free").touch()
        again = await shell.run("backfill")
        assert again.code == 0, again.stderr
        assert_kept(shell, api)


@dataclass
class Proxy:
    """An HTTP proxy that leads every CONNECT to one port, and keeps what it saw."""

    target: int
    status: bytes = b"200 Connection established"
    port: int = 0
    heads: list[str] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 " + self.status + b"\r\ncontent-length: 0\r\n\r\n")
            if self.status.startswith(b"200"):
                onward = await asyncio.open_connection("127.0.0.1", self.target)
                await asyncio.gather(carry(reader, onward[1], self.seen), carry(onward[0], writer, self.seen))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    try:
        while piece := await reader.read(1 << 16):
            seen += piece
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


def certificate(folder: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("only openssl can make a certificate here")
    names = [
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "ca.pem"),
        "-addext",
        f"subjectAltName=DNS:{HOST}",
    ]
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    subprocess.run([openssl, *request, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def behind_a_proxy(shell: Shell, api: Simulator, folder: Path) -> AsyncIterator[Proxy]:
    """Put the stand-in behind TLS under a name that only the proxy knows, and let the shell's variables name both."""
    port = URL(api.base_url).port
    assert port is not None

    async def encrypted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            await asyncio.gather(carry(reader, onward[1], bytearray()), carry(onward[0], writer, bytearray()))

    tls = await asyncio.start_server(encrypted, "127.0.0.1", 0, ssl=certificate(folder))
    proxy = Proxy(tls.sockets[0].getsockname()[1])
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    shell.talks_to(f"https://{HOST}/v1.3")
    shell.environ |= {
        "HTTPS_PROXY": f"http://a-user:s3cret%21word@127.0.0.1:{proxy.port}",
        "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
    }
    try:
        yield proxy
    finally:
        server.close()
        tls.close()


async def test_row_52_a_harvest_goes_through_the_proxy_and_trusts_the_own_authority(
    shell: Shell, tmp_path: Path
) -> None:
    # A login for the API's host in ~/.netrc must not be read.
    (tmp_path / ".netrc").write_text(f"machine {HOST} login netrc password netrcsecret\n")
    shell.environ["HOME"] = str(tmp_path)
    async with stand_in(tasks=3, duration_s=12) as api, behind_a_proxy(shell, api, tmp_path) as proxy:
        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")
        doctor = await shell.run("doctor")
        config = orjson.loads((await shell.run("config", "--json")).stdout)

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
    login = b64encode(b"a-user:s3cret!word").decode()
    assert all(head.startswith(f"CONNECT {HOST}:443 ") and login in head for head in proxy.heads)
    assert KEY.encode() not in bytes(proxy.seen) + "".join(proxy.heads).encode()
    place = f"http://127.0.0.1:{proxy.port} (with credentials), from HTTPS_PROXY"
    assert (config["proxy"], config["ca_certificates"]) == (place, f"{tmp_path / 'ca.pem'}, from REQUESTS_CA_BUNDLE")
    assert place in doctor.stdout
    said = ended.stderr + doctor.stdout + str(config)
    assert [word for word in ("s3cret", login, "netrc") if word in said] == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b"407 Proxy Authentication Required", "proxy_auth_required"),
        pytest.param(b"502 Bad Gateway", "proxy_refused", marks=thorough),
    ],
)
async def test_row_52_a_proxy_that_opens_no_way_is_named(
    shell: Shell, tmp_path: Path, status: bytes, code: str
) -> None:
    async with stand_in(tasks=1, duration_s=12) as api, behind_a_proxy(shell, api, tmp_path) as proxy:
        proxy.status = status
        (task_id,) = api.catalogue.ids()

        ended = await shell.run("backfill", task_id, "--no-wait")

        assert (ended.code, len(api.requests)) == (1, 0)
        ((said, message), *_) = said_about(shell, task_id)
        assert (said, f"127.0.0.1:{proxy.port}" in message, "s3cret" in message) == (code, True, False)
        assert_kept(shell, api, {task_id: "pending"})


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"HTTPS_PROXY": "socks5://127.0.0.1:1080"}, "HTTPS_PROXY names a SOCKS proxy, which is not supported."),
        pytest.param(
            {"ALL_PROXY": "ftp://user:s3cret@127.0.0.1"}, "ALL_PROXY does not name an HTTP proxy.", marks=thorough
        ),
        (
            {"SSL_CERT_FILE": "/nowhere/ca.pem"},
            "SSL_CERT_FILE names /nowhere/ca.pem, which cannot be read: No such file",
        ),
        pytest.param({"REQUESTS_CA_BUNDLE": __file__}, "which holds no CA certificates.", marks=thorough),
    ],
)
async def test_row_52_a_variable_that_is_of_no_use_is_named_at_the_start(
    shell: Shell, variables: dict[str, str], says: str
) -> None:
    shell.talks_to(f"https://{HOST}/v1.3")
    ended = await shell.run("backfill", "66f537778d9641fe5a0d101f", **variables)
    assert (ended.code, says in ended.stderr, "s3cret" in ended.stderr) == (2, True, False), ended.stderr
