# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fetched by https, and what is not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import https
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.gateway.peer import HOST, certificate

URL = f"https://{HOST}/list"
PUBLIC = "93.184.215.14"


class Server:
    """Answers on a port of loopback by the path that is asked for; names lead to it by what the resolver says."""

    def __init__(self, pem: Path) -> None:
        self.answers: dict[str, bytes] = {}
        self.names: dict[str, list[str]] = {HOST: ["127.0.0.1"]}
        self.asked: list[str] = []
        self.every = 0.0  # seconds between two bytes
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            with contextlib.suppress(OSError), self.context.wrap_socket(self.listener.accept()[0], server_side=True) as connection:
                path = connection.recv(65536).split()[1].decode()
                self.asked.append(path)
                answer = self.answers[path]
                for each in [answer[index : index + 1] for index in range(len(answer))] if self.every else [answer]:
                    connection.sendall(each)
                    time.sleep(self.every)  # how slow it is, not a condition
            if self.listener.fileno() < 0:
                return

    def resolve(self, host: str, _port: int, **_hints: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if host not in self.names:
            raise socket.gaierror(f"{host} is not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, self.port)) for address in self.names[host]]


class Anywhere(socket.socket):
    """A socket that reaches the server at whatever public address it connects to."""

    def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
        super().connect(("127.0.0.1" if address[0] == PUBLIC else address[0], address[1]))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pem = certificate(tmp_path)
    made = Server(pem)
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusted.load_verify_locations(pem)
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusted)
    monkeypatch.setattr(socket, "getaddrinfo", made.resolve)
    monkeypatch.setattr(socket, "socket", Anywhere)
    yield made
    made.listener.close()


def ok(body: bytes = b"198.51.100.0/24\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def moved(where: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_document(server: Server) -> None:
    """The first host may be anywhere: its name is the operator's own word."""
    server.answers["/list"] = ok()
    assert https.get(URL, timeout=5, limit=4096) == b"198.51.100.0/24\n"


def test_a_redirect_to_a_public_address(server: Server) -> None:
    server.answers |= {"/list": moved("/elsewhere", 308), "/elsewhere": moved(f"https://{HOST}/end"), "/end": ok(b"x")}
    server.names[HOST] = [PUBLIC]
    assert https.get(URL, timeout=5, limit=4096) == b"x"
    assert server.asked == ["/list", "/elsewhere", "/end"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"]
)
def test_a_redirect_into_a_private_network(server: Server, address: str) -> None:
    server.answers["/list"] = moved("https://inside.example.org/")
    server.names["inside.example.org"] = [PUBLIC, address]
    with pytest.raises(ForeignError, match="no public address"):
        https.get(URL, timeout=5, limit=4096)
    assert server.asked == ["/list"]


@pytest.mark.parametrize("where", ["http://nous.example.org/", "file:///etc/shadow", "https://user@nous.example.org/", "https://x:y/", "https://é/"])
def test_a_redirect_to_something_else(server: Server, where: str) -> None:
    server.answers["/list"] = moved(where)
    with pytest.raises(ForeignError, match="is no URL that may be fetched"):
        https.get(URL, timeout=5, limit=4096)


def test_redirects_without_end(server: Server) -> None:
    server.answers["/list"] = moved("/list")
    server.names[HOST] = [PUBLIC]
    with pytest.raises(ForeignError, match="more than 3 times"):
        https.get(URL, timeout=5, limit=4096)
    assert len(server.asked) == 4


NOT_FOUND, ENDLESS = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000


@pytest.mark.parametrize("answer", [NOT_FOUND, ok(b"x" * 5000), ENDLESS, b"nonsense\r\n"])
def test_what_is_no_document(server: Server, answer: bytes) -> None:
    server.answers["/list"] = answer
    with pytest.raises(ForeignError):
        https.get(URL, timeout=5, limit=4096)


def test_a_server_that_answers_byte_by_byte(server: Server) -> None:
    server.answers["/list"], server.every = ok(), 0.02
    with pytest.raises(TimeoutError):
        https.get(URL, timeout=0.3, limit=4096)


def test_a_certificate_of_another(server: Server) -> None:
    server.names["other.example.org"] = ["127.0.0.1", "127.0.0.1"]
    with pytest.raises(ssl.SSLCertVerificationError):
        https.get("https://other.example.org/list", timeout=5, limit=4096)


def test_a_name_without_an_address(server: Server) -> None:
    with pytest.raises(OSError, match="is not known"):
        https.get("https://unknown.example.org/", timeout=5, limit=4096)
    server.names[HOST] = []
    with pytest.raises(OSError, match="has no address"):
        https.get(URL, timeout=5, limit=4096)
