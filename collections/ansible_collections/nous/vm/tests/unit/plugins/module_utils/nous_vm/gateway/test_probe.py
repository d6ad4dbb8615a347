# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the gateway answer?"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin, configuration, probe
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.gateway.peer import HOST, certificate

DENIED = b"HTTP/1.1 403 Forbidden\r\nX-Gateway-Denied: address\r\nContent-Length: 0\r\n\r\n"
PARAMETERS = configuration.Parameters(Path("/etc/caddy/Caddyfile"), HOST, ["203.0.113.7/32"], ["/authorize"], True, 1.4)


class Gateway:
    """Answers over TLS on a port of loopback: with one answer, byte by byte if it is slow."""

    def __init__(self, pem: Path) -> None:
        self.answer, self.pause, self.requests = DENIED, 0.0, list[bytes]()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                plain = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=[plain], daemon=True).start()

    def serve(self, plain: socket.socket) -> None:
        try:
            with self.context.wrap_socket(plain, server_side=True) as connection:
                self.requests.append(connection.recv(65536))
                for start in range(0, len(self.answer), 1 if self.pause else len(self.answer)):
                    connection.sendall(self.answer[start : start + 1] if self.pause else self.answer)
                    time.sleep(self.pause)  # what a slow peer does, not a condition
                connection.recv(1)  # until the other end closes
        except OSError:
            return


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def gateway(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway(pem)
    monkeypatch.setattr(probe, "PORT", made.port)
    monkeypatch.setattr(probe, "TIMEOUT", 2.0)
    yield made
    made.listener.close()


def test_one_request(gateway: Gateway) -> None:
    assert probe.ask("127.0.0.1", HOST, "/authorize") == (403, "address", "127.0.0.1")
    lines = gateway.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /authorize HTTP/1.1"
    assert f"Host: {HOST}" in lines


def test_a_stream_whose_events_never_come_is_an_answer(gateway: Gateway) -> None:
    gateway.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert probe.ask("127.0.0.1", HOST, "/") == (200, "", "127.0.0.1")


def test_a_header_is_printable(gateway: Gateway) -> None:
    gateway.answer = "HTTP/1.1 403 Forbidden\r\nX-Gateway-Denied: \x9b31m\x1b[2J\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    assert probe.ask("127.0.0.1", HOST, "/").denied == r"\x9b31m\x1b[2J"


def test_a_peer_that_answers_byte_by_byte_gets_no_more_than_the_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.5)
    gateway.pause = 0.05
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        probe.ask("127.0.0.1", HOST, "/")
    assert time.monotonic() - start < 2


def test_what_is_no_http(gateway: Gateway) -> None:
    gateway.answer = b"SSH-2.0-OpenSSH\r\n"
    with pytest.raises(ForeignError):
        probe.ask("127.0.0.1", HOST, "/")


def test_certificate(gateway: Gateway) -> None:
    found = probe.certificate(HOST)
    assert 88.9 < (found.end - time.time()) / 86400 < 89.1
    assert found.end - found.begin == pytest.approx(90 * 86400 + 3600, abs=2)
    assert found.until.endswith("GMT")


def test_a_certificate_of_another_name(gateway: Gateway) -> None:
    with pytest.raises(OSError, match=r"other\.example\.org"):
        probe.certificate("other.example.org")


# Ready or not


def throw(error: Exception) -> NoReturn:
    """Raise what is not known to be an error before."""
    raise error


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Caddy serves, and what it answers."""
    known: dict[str, Any] = {"configuration": {"apps": {}}, "answer": probe.Answer(403, "address", "127.0.0.1")}

    def answer(*_arguments: object) -> probe.Answer:
        if isinstance(known["answer"], Exception):
            throw(known["answer"])
        found: probe.Answer = known["answer"]
        return found

    monkeypatch.setattr(admin, "served", lambda _socket: known["configuration"])
    monkeypatch.setattr(probe, "ask", answer)
    return known


def test_ready(served: dict[str, Any]) -> None:
    assert probe.not_ready(PARAMETERS, {"apps": {}}) == ""


def test_not_what_is_on_disk(served: dict[str, Any]) -> None:
    assert probe.not_ready(PARAMETERS, {"apps": {"http": {}}}) == "Caddy does not serve what /etc/caddy/Caddyfile says"


@pytest.mark.parametrize("error", [OSError("unreachable\x1b[2J"), ForeignError("not HTTP")])
def test_no_answer(served: dict[str, Any], error: Exception) -> None:
    served["answer"] = error
    reason = probe.not_ready(PARAMETERS, {"apps": {}})
    assert reason.startswith("the gateway does not answer: ") and reason.isprintable()


@pytest.mark.parametrize("denied", ["", "host"])
def test_who_is_not_on_the_allow_list_comes_through(served: dict[str, Any], denied: str) -> None:
    served["answer"] = probe.Answer(200, denied, "127.0.0.1")
    assert probe.not_ready(PARAMETERS, {"apps": {}}) == "the gateway answers 200 to 127.0.0.1, which is not on the allow list"
    assert probe.not_ready(PARAMETERS._replace(cidrs=["127.0.0.0/8"]), {"apps": {}}) == ""


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        ((403, "address", "198.51.100.4"), "ok", "403 for 198.51.100.4, which is not on the allow list, at one"),
        ((200, "", "203.0.113.7"), "ok", "200 for 203.0.113.7, which is on the allow list, at one"),
        ((401, "", "203.0.113.7"), "ok", "401 for 203.0.113.7, which is on the allow list, at one"),
        ((502, "", "203.0.113.7"), "fail", "502 for 203.0.113.7, which is on the allow list, at one"),
        ((403, "address", "203.0.113.7"), "fail", "403 for 203.0.113.7, which is on the allow list, at one"),
        ((200, "", "1.1.1.1"), "fail", "200 for 1.1.1.1, which is not on the allow list, at one"),
        ((421, "host", "1.1.1.1"), "fail", "421 for 1.1.1.1, which is not on the allow list, at one"),
        ((200, "", "10.0.0.4"), "unknown", "200 for 10.0.0.4, which is not on the allow list, at one; the address that the gateway sees may be another one"),
    ],
)
def test_from_controller(served: dict[str, Any], answer: tuple[int, str, str], status: str, detail: str) -> None:
    served["answer"] = probe.Answer(*answer)
    assert probe.from_controller(HOST, ["203.0.113.7/32"], ["one", "one"]) == ("gateway from the controller", status, detail)


def test_no_address_answers(served: dict[str, Any]) -> None:
    served["answer"] = OSError("unreachable")
    row = probe.from_controller(HOST, [], ["one", "two", "one"])
    assert row[1:] == ("unknown", "not probed: one: unreachable; two: unreachable")


@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (TimeoutError("timed out"), "not answered: "),
        (ConnectionRefusedError(111, "no"), "not answered: "),
        (OSError(113, "No route to host"), "not answered: "),
        (socket.gaierror(-2, "Name or service not known"), "not probed: "),
        (ssl.SSLError("handshake"), "not probed: "),
    ],
)
def test_nobody_answers_or_the_name_leads_nowhere(monkeypatch: pytest.MonkeyPatch, error: OSError, begin: str) -> None:
    """What a firewall does is told apart: the host is asked about it then."""

    def ask(*_about: str) -> NoReturn:
        raise error

    monkeypatch.setattr(probe, "ask", ask)
    row = probe.from_controller(HOST, [], ["one"])
    assert (row.status, row.detail.startswith(begin)) == ("unknown", True)
