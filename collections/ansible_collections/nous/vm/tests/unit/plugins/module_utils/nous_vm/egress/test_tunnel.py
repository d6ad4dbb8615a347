# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections through the proxy, over sockets of the loopback; where a public address would be connected to, a server of the test is."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress import policy, tunnel
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.configuration import Configuration, Entry, Limits
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.request import Denied

from .test_hello import hello_of

NAME, PUBLIC = "api.anthropic.com", "160.79.104.10"
REQUEST = f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n".encode()
HELLO = hello_of(NAME)
LIMITS = Limits(connections=3, idle=5, total=10, size=1 << 20)
ALLOW = [Entry(NAME, 443), Entry("plain.example.org", 443, ipaddress.ip_network("10.0.0.0/8"), tls=False)]
PATIENCE = 10


class Server:
    """A server that is connected to instead of a public address: echoes what it gets, in lower case so that it is told apart."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.got: list[bytes] = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = self.socket.accept()
                threading.Thread(target=self.echo, args=[peer], daemon=True).start()

    def echo(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            while block := peer.recv(1 << 16):
                self.got.append(block)
                peer.sendall(block)


class Running:
    """The proxy, in a thread; what it logged, whom it connected to, and what names lead to."""

    def __init__(self, limits: Limits) -> None:
        self.log: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.addresses: dict[str, list[str]] = {NAME: [PUBLIC], "plain.example.org": ["10.0.0.5"]}
        self.lookups, self.server = 0, Server()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.about = Configuration("127.0.0.1:3128", ["nous.service"], ALLOW, limits, [], {})
        self.loop = asyncio.new_event_loop()
        self.task: asyncio.Task[None] | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    async def look_up(self, name: str, _port: int) -> list[str]:
        self.lookups += 1
        if name not in self.addresses:
            raise socket.gaierror("Name or service not known")
        return self.addresses[name]

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.task = self.loop.create_task(tunnel.serve(self.listening, self.about, self.log.append, self.look_up))
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.task)
        left = asyncio.all_tasks(self.loop)
        for each in left:
            each.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def stop(self) -> None:
        if self.task:
            self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(PATIENCE)
        self.server.socket.close()

    def client(self, content: bytes = b"") -> socket.socket:
        made = socket.create_connection(self.listening.getsockname(), PATIENCE)
        made.sendall(content)
        return made

    def outcome(self) -> str:
        """Return the next line of the log."""
        waited = threading.Event()
        for _try in range(PATIENCE * 100):
            if self.log:
                return self.log.pop(0)
            waited.wait(0.01)
        raise AssertionError("nothing was logged")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []
    real = asyncio.open_connection

    async def dial(address: str, port: int, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made[-1].dialled.append((address, port))
        return await real("127.0.0.1", made[-1].server.port, **options)

    monkeypatch.setattr(asyncio, "open_connection", dial)
    monkeypatch.setattr(policy, "is_own", lambda _address: False)
    monkeypatch.setattr(policy.permitted, "__defaults__", (lambda _address: False,))

    def begin(**limits: float) -> Running:
        made.append(Running(LIMITS._replace(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for each in made:
        each.stop()


def everything(client: socket.socket) -> bytes:
    """Return all that a client gets until the end."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while block := client.recv(1 << 16):
            found += block
    return found


def test_through_and_back(start: Callable[..., Running]) -> None:
    running = start()
    client = running.client(REQUEST)
    assert client.recv(99) == tunnel.ESTABLISHED
    client.sendall(HELLO + b"early")
    client.shutdown(socket.SHUT_WR)
    assert everything(client) == HELLO + b"early"
    size = len(HELLO) + 5
    assert running.outcome().startswith(f"{NAME}:443 done; {size} bytes out, {size} in, ")
    assert running.dialled == [(PUBLIC, 443)], "what was checked is what is connected to"


def test_a_request_in_pieces(start: Callable[..., Running]) -> None:
    client = start().client()
    for byte in REQUEST:
        client.sendall(bytes([byte]))
    assert client.recv(99) == tunnel.ESTABLISHED


def test_plain_text_for_a_collector(start: Callable[..., Running]) -> None:
    running = start()
    client = running.client(b"CONNECT plain.example.org:443 HTTP/1.1\r\n\r\n")
    assert client.recv(99) == tunnel.ESTABLISHED
    client.sendall(b"PRI * HTTP/2.0")
    client.shutdown(socket.SHUT_WR)
    assert everything(client) == b"PRI * HTTP/2.0"


ANSWERED = {
    "plain HTTP": (b"GET http://api.anthropic.com/ HTTP/1.1\r\n\r\n", "405", "method"),
    "another name": (b"CONNECT evil.example.org:443 HTTP/1.1\r\n\r\n", "403", "name"),
    "another port": (f"CONNECT {NAME}:22 HTTP/1.1\r\n\r\n".encode(), "403", "port"),
    "a literal": (b"CONNECT 160.79.104.10:443 HTTP/1.1\r\n\r\n", "403", "literal"),
    "pipelining": (REQUEST + HELLO, "403", "pipelining"),
    "a smuggled CONNECT": (REQUEST + REQUEST.replace(b"api.", b"evil."), "403", "pipelining"),
    "a large header": (REQUEST[:-2] + b"X: " + b"y" * 9000 + b"\r\n\r\n", "431", "size"),
    "a header without an end": (b"CONNECT " + b"y" * 100_000, "431", "size"),
}


@pytest.mark.parametrize(("content", "status", "kind"), ANSWERED.values(), ids=ANSWERED.keys())
def test_what_is_denied_before_anything_is_looked_up(start: Callable[..., Running], content: bytes, status: str, kind: str) -> None:
    running = start()
    client = running.client()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(content)
    answer = everything(client)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) or kind == "size"  # a reset may take the answer along
    assert f"denied ({kind})" in running.outcome()
    assert (running.dialled, running.lookups) == ([], 0)


def test_a_request_that_ends(start: Callable[..., Running]) -> None:
    running = start()
    client = running.client(REQUEST[:20])
    client.shutdown(socket.SHUT_WR)
    everything(client)
    assert "denied (form): the request ended after 20 bytes" in running.outcome()


def test_a_byte_a_second(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly, the request has one deadline."""
    monkeypatch.setattr(tunnel, "REQUEST", 0.3)
    running = start()
    client, ended = running.client(), threading.Event()

    def trickle() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                client.sendall(b"C")

    threading.Thread(target=trickle, daemon=True).start()
    assert "denied (time)" in running.outcome()
    ended.set()


def test_nobody_begins_tls(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "REQUEST", 0.3)
    running = start()
    client = running.client(REQUEST)
    assert everything(client) == tunnel.ESTABLISHED
    assert "denied (time)" in running.outcome()


FIRST = {
    "no TLS": (b"GET / HTTP/1.1\r\n\r\n", "tls"),
    "another server name": (hello_of("evil.example.org"), "server name"),
    "no server name": (hello_of(None), "server name"),
    "a message without an end": (b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xf0" + b"x" * 40_000, "tls"),
}


@pytest.mark.parametrize(("first", "kind"), FIRST.values(), ids=FIRST.keys())
def test_what_begins_otherwise_reaches_nobody(start: Callable[..., Running], first: bytes, kind: str) -> None:
    """The other side sees a connection, and not a byte; the client is not answered in what it takes for the tunnel."""
    running = start()
    client = running.client(REQUEST)
    assert client.recv(99) == tunnel.ESTABLISHED
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(first)
        client.shutdown(socket.SHUT_WR)
    assert everything(client) == b""
    assert f"denied ({kind})" in running.outcome()
    assert running.server.got == []


def test_a_name_that_leads_inside(start: Callable[..., Running]) -> None:
    """Rebinding: the second answer for a name is judged as the first one was, and only what was judged is connected to."""
    running = start()
    running.addresses[NAME] = ["169.254.169.254", "127.0.0.1", PUBLIC]
    first = running.client(REQUEST)
    assert first.recv(99) == tunnel.ESTABLISHED
    running.addresses[NAME] = ["10.0.0.1", "::ffff:127.0.0.1"]
    assert everything(running.client(REQUEST)).startswith(b"HTTP/1.1 403 ")
    assert "denied (address)" in running.outcome()
    assert running.dialled == [(PUBLIC, 443)]


def test_a_name_that_is_not_found(start: Callable[..., Running]) -> None:
    running = start()
    del running.addresses[NAME]
    assert everything(running.client(REQUEST)).startswith(b"HTTP/1.1 502 ")
    assert "denied (lookup)" in running.outcome()


def test_a_name_server_that_does_not_answer(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "LOOKUP", 0.2)
    running = start()

    async def never(_name: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(running, "look_up", never)
    proxy = tunnel.Proxy(running.about, running.log.append, never)
    with pytest.raises(Denied) as denied:
        asyncio.run(proxy.addresses(ALLOW[0]))
    assert denied.value.kind == "lookup"


def test_a_server_that_does_not_answer(start: Callable[..., Running]) -> None:
    running = start()
    running.server.port = 1
    assert everything(running.client(REQUEST)).startswith(b"HTTP/1.1 502 ")
    assert "denied (connect): 160.79.104.10: " in running.outcome()


def test_more_bytes_than_allowed(start: Callable[..., Running]) -> None:
    running = start(size=100_000)
    client = running.client(REQUEST)
    assert client.recv(99) == tunnel.ESTABLISHED
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(HELLO)
        for _block in range(100):
            client.sendall(bytes(10_000))
    assert "denied (bytes)" in running.outcome()
    assert sum(map(len, running.server.got)) <= 100_000


def test_idle(start: Callable[..., Running]) -> None:
    running = start(idle=0.2)
    client = running.client(REQUEST)
    assert client.recv(99) == tunnel.ESTABLISHED
    client.sendall(HELLO)
    assert everything(client) == HELLO
    assert "denied (idle time)" in running.outcome()


def test_a_byte_now_and_then_is_no_way_round_the_total(start: Callable[..., Running]) -> None:
    running = start(idle=5, total=0.5)
    client, ended = running.client(REQUEST), threading.Event()
    assert client.recv(99) == tunnel.ESTABLISHED
    client.sendall(HELLO)

    def trickle() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                client.sendall(b"x")

    threading.Thread(target=trickle, daemon=True).start()
    assert "denied (total time)" in running.outcome()
    ended.set()


def test_too_many(start: Callable[..., Running]) -> None:
    """Who comes too late is told so; when others are gone, there is room again."""
    running = start()
    idle = [running.client(REQUEST) for _each in range(3)]
    assert all(each.recv(99) == tunnel.ESTABLISHED for each in idle)
    crowd = [running.client() for _each in range(100)]
    assert all(everything(each).startswith(b"HTTP/1.1 503 ") for each in crowd)
    assert {running.outcome().partition(";")[0] for _each in crowd} == {"- denied (connections): more than 3 at a time"}
    idle[0].close()
    assert "denied (tls)" in running.outcome()
    assert running.client(REQUEST).recv(99) == tunnel.ESTABLISHED


def test_a_server_that_resets(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    running = start()

    def reset(peer: socket.socket) -> None:
        peer.recv(99)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    monkeypatch.setattr(running.server, "echo", reset)
    client = running.client(REQUEST)
    assert client.recv(99) == tunnel.ESTABLISHED
    client.sendall(HELLO + bytes(1000))
    everything(client)
    assert "failed: " in running.outcome()


def test_names_are_looked_up_as_the_host_does(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, 1, 6, "", (PUBLIC, 443)), (socket.AF_INET, 1, 6, "", (PUBLIC, 443)), (socket.AF_INET6, 1, 6, "", ("2607:6bc0::10", 443, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_about, **_options: answer)
    assert asyncio.run(tunnel.resolver()(NAME, 443)) == [PUBLIC, "2607:6bc0::10"]  # type: ignore[arg-type]
