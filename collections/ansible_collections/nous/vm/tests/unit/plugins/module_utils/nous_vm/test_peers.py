# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers over HTTP: one deadline for the whole exchange, a bound for the answer, and every failure of one of two kinds."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import peers
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import Answer, ask, tcp, unix

Behaviour = Callable[[socket.socket], None]
SOON = 10.0
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n" + b'{"a": 1}'


class Peer:
    """A server that does one thing with every connection."""

    def __init__(self, path: str) -> None:
        self.path, self.asked = path, b""
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()

    def answer(self, behaviour: Behaviour | bytes) -> None:
        """Serve one connection in the background."""
        threading.Thread(target=self.serve, args=(behaviour,), daemon=True).start()

    def serve(self, behaviour: Behaviour | bytes) -> None:
        try:
            with self.listening.accept()[0] as connection:
                while not self.asked.endswith((b"\r\n\r\n", b"given")) or (b"Content-Length: 5" in self.asked and not self.asked.endswith(b"given")):
                    self.asked += connection.recv(1 << 16)
                if isinstance(behaviour, bytes):
                    connection.sendall(behaviour)
                else:
                    behaviour(connection)
        except OSError:  # the one who asked has seen enough
            pass

    def ask(self, timeout: float = SOON, **options: object) -> Answer:
        return ask(unix(self.path), "GET", "/x", headers={"Host": "nous"}, timeout=timeout, **options)  # type: ignore[arg-type]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(str(tmp_path / "socket"))
    yield made
    made.listening.close()


def endless(head: bytes, piece: bytes, pause: float = 0) -> Behaviour:
    """Send a head, and then pieces until nobody wants them any more."""

    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return send


def test_an_answer(peer: Peer) -> None:
    peer.answer(JSON)
    answer = peer.ask()
    assert (answer.status, answer.headers["content-type"], answer.body, answer.json()) == (200, "application/json", b'{"a": 1}', {"a": 1})
    assert peer.asked.startswith(b"GET /x HTTP/1.1\r\n")


def test_a_body_that_is_sent(peer: Peer) -> None:
    peer.answer(JSON)
    ask(unix(peer.path), "POST", "/x", headers={}, body=b"given", timeout=SOON)
    assert peer.asked.endswith(b"\r\n\r\ngiven")


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(endless(b"", b"H", 0.05), id="a-head-byte-by-byte"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05), id="a-body-byte-by-byte"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n", b"", 0.05), id="silence"),
        pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05), id="continues-for-ever"),
    ],
)
def test_the_deadline_is_of_the_whole(peer: Peer, behaviour: Behaviour) -> None:
    """A time-out of each read never comes to an end here."""
    peer.answer(behaviour)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        peer.ask(timeout=0.5)
    assert time.monotonic() - began < SOON


def test_the_time_may_be_over_before_anything_is_read() -> None:
    with pytest.raises(TimeoutError, match="it did not answer in time"):
        peers._remaining(time.monotonic() - 1)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096), id="an-endless-body"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 4096), id="a-huge-body"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"), id="endless-chunks"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nA: ", b"x" * 4096), id="an-endless-header"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n", b"A: x\r\n"), id="endless-headers"),
        pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continues"),
    ],
)
def test_an_answer_is_bounded(peer: Peer, behaviour: Behaviour) -> None:
    peer.answer(behaviour)
    with pytest.raises(ForeignError):
        peer.ask(limit=20_000)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", id="another-protocol"),
        pytest.param(b"\x1b[31mHTTP\r\n\r\n", id="control-characters"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no-number"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", id="cut-short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="no-chunk"),
    ],
)
def test_what_is_not_http_is_rejected(peer: Peer, answer: bytes) -> None:
    peer.answer(answer)
    with pytest.raises(ForeignError, match=r"^it does not speak HTTP: ") as caught:
        peer.ask()
    assert str(caught.value).isprintable()


def test_the_first_event_of_a_stream_that_lasts(peer: Peer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    peer.answer(endless(head + b'event: message\r\ndata: {"a": 2}\r\n\r\n', b"", 0.05))
    assert peer.ask(first_event=True).json() == {"a": 2}


def test_a_stream_without_an_event(peer: Peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 4\r\n\r\n: x\n")
    with pytest.raises(ForeignError, match=r"^the answer is not JSON"):
        peer.ask(first_event=True).json()


def test_what_is_no_stream_is_read_as_a_whole(peer: Peer) -> None:
    peer.answer(JSON)
    assert peer.ask(first_event=True).body == b'{"a": 1}'


@pytest.mark.parametrize("body", [b"", b": a comment\n\n"])
def test_json_of_a_stream(body: bytes) -> None:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    assert Answer(200, headers, body + b'data: {"a": 3}\n\ndata: {}\n').json() == {"a": 3}
    with pytest.raises(ForeignError):
        Answer(200, headers, body).json()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(unix(str(tmp_path / "none")), "GET", "/", headers={}, timeout=SOON)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        ask(tcp("127.0.0.1", port), "GET", "/", headers={}, timeout=SOON)


def test_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(JSON)

        threading.Thread(target=serve, daemon=True).start()
        assert ask(tcp("127.0.0.1", server.getsockname()[1]), "GET", "/", headers={}, timeout=SOON).status == 200


def test_in_the_network_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back, whether it connected or not. Which network it was in is for a host to show; Python has setns from 3.12 on."""
    entered: list[str] = []
    monkeypatch.setattr(os, "setns", lambda descriptor, _kind: entered.append(os.readlink(f"/proc/self/fd/{descriptor}")), raising=False)
    monkeypatch.setattr(os, "CLONE_NEWNET", 0x40000000, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        peers.in_network_of(os.getppid(), "127.0.0.1", port)(5).close()
    with pytest.raises(ConnectionRefusedError):
        peers.in_network_of(os.getppid(), "127.0.0.1", port)(5)
    assert entered == [os.readlink(f"/proc/{os.getppid()}/ns/net"), os.readlink("/proc/self/ns/net")] * 2
