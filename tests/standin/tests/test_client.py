# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test client before the stand-in: where it connects to, where from, what it makes of a rejection."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import mcp_client
import pytest
from conftest import Server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "nous.example"
MakeServer = Callable[..., Server]


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for NAME with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    today = datetime.datetime.now(datetime.UTC)
    tomorrow = today + datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), today, tomorrow)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "front.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(certificate.public_bytes(encoding) + private)
    return pem


class Front:
    """TLS on 127.0.0.2 before the server; remembers who asked first for which path on each connection."""

    def __init__(self, pem: Path, upstream: int) -> None:
        self.upstream = upstream
        self.seen: list[tuple[str, str]] = []
        self.loop = asyncio.new_event_loop()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        listening = asyncio.start_server(self._serve, "127.0.0.2", 0, ssl=context)
        self.listener = self.loop.run_until_complete(listening)
        self.address = f"127.0.0.2:{self.listener.sockets[0].getsockname()[1]}"
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readuntil(b"\r\n")
        self.seen.append((str(ipaddress.ip_address(writer.get_extra_info("peername")[0])), first.split()[1].decode()))
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        up_writer.write(first)

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer), return_exceptions=True)


@pytest.fixture
def front(make_server: MakeServer, tmp_path: Path) -> Iterator[Front]:
    server = make_server(NOUS_OAUTH_ISSUER=f"https://{NAME}").start()
    front = Front(make_certificate(tmp_path), server.port)
    yield front
    front.loop.call_soon_threadsafe(front.loop.stop)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, mcp_client.__file__, *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def test_whole_flow_through_tls_from_two_addresses(front: Front, tmp_path: Path) -> None:
    where = ["--address", front.address, "--source-address", "127.0.0.3", "--browser-source", "127.0.0.4"]
    ended = run(f"https://{NAME}", "note", '{"text": "hello"}', *where, "--ca", str(tmp_path / "front.pem"))
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert seen["unauthenticated"]["status"] == 401
    assert seen["server"]["name"] == "nous"
    assert seen["result"]["args"] == {"text": "hello"}
    assert [path for _, path, status in seen["requests"] if status == 302] == ["/authorize"]
    by_source: dict[str, set[str]] = {}
    for source, target in front.seen:
        by_source.setdefault(source, set()).add(target.partition("?")[0])
    assert by_source == {"127.0.0.3": {"/"}, "127.0.0.4": {"/authorize"}}


def test_certificate_is_checked_unless_told_otherwise(front: Front) -> None:
    where = [f"https://{NAME}", "status", "--address", front.address]
    distrusted = run(*where)
    assert distrusted.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in distrusted.stderr
    assert run(*where, "--insecure").returncode == 0


def test_answer_that_is_no_401_stops_it(make_server: MakeServer) -> None:
    server = make_server(NOUS_OAUTH_ENABLED="false").start()
    ended = run(server.url, "status")
    assert ended.returncode == 1
    assert "not 401 with metadata" in ended.stderr
    assert json.loads(ended.stdout)["requests"][0][:2] == ["POST", "/"]


def test_tool_that_fails_is_a_failure(server: Server) -> None:
    with pytest.raises(mcp_client.Rejected, match="Unknown tool"):
        server.call("abacus")
