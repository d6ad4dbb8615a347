"""The wire on both sides of the gateway: requests as they are written, and a server that keeps what reached it."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import h2.config
import h2.connection
import h2.events

HOST = "nous.example.org"
VENDOR, OPERATOR, STRANGER = "160.79.104.9", "203.0.113.7", "203.0.113.5"
OPERATOR_6, STRANGER_6 = "2001:db8:1::7", "2001:db8:2::5"
PUBLIC = ["/authorize", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"]
TIMEOUT = 15
NUMBERS = itertools.count(time.time_ns())
CLONE_NEWNET = 0x40000000


class Network:
    """The network namespace of a host: what is opened within `with` belongs to it, wherever it is used."""

    def __init__(self, pid: str) -> None:
        self.there = f"/proc/{pid}/ns/net"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        with open("/proc/thread-self/ns/net", "rb") as here, open(self.there, "rb") as there:
            self.enter(there.fileno())
            try:
                yield
            finally:
                self.enter(here.fileno())

    @staticmethod
    def enter(namespace: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


@dataclass
class Seen:
    """A request as the server read it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def path(self) -> str:
        return self.target.split("?")[0]


class Backend:
    """Serves HTTP/1.1 on 127.0.0.1:8088 of a host, or on a unix socket. Whatever follows a request on a connection counts as another one."""

    def __init__(self, network: Network) -> None:
        self.network, self.seen, self.go_on = network, list[Seen](), threading.Event()
        self.endless = 0  # how many streams without end were cut
        self.listener: socket.socket

    def start(self, path: str = "") -> None:
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(512)
        else:
            with self.network.entered():
                self.listener = socket.create_server(("127.0.0.1", 8088), backlog=512)
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError), connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _version = line.decode("latin-1").rstrip("\r\n").split(" ")
                headers = []
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
                    headers.append((name, value.strip()))
                seen = Seen(method, target, headers, b"")
                seen.body = self.body(stream, seen)
                self.seen.append(seen)
                self.answer(connection, seen)

    @staticmethod
    def body(stream: BinaryIO, seen: Seen) -> bytes:
        """Read a body to its end; what was cut on the way is nothing that a server acts on."""

        def exactly(length: int) -> bytes:
            found = stream.read(length)
            if len(found) < length:
                raise EOFError
            return found

        if "chunked" not in seen.all("transfer-encoding"):
            return exactly(int((seen.all("content-length") or ["0"])[0]))
        found = b""
        while size := int(stream.readline().split(b";")[0] or b"x", 16):
            found += exactly(size)
            exactly(2)
        exactly(2)
        return found

    def answer(self, connection: socket.socket, seen: Seen) -> None:
        if seen.path == "/stream":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: first\n\n")
            self.go_on.wait(TIMEOUT)
            connection.sendall(b"data: second\n\n")
            raise EOFError
        if seen.path == "/endless":  # until it cannot be sent any more
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            try:
                while True:
                    connection.sendall(b"data: x\n\n" * 8192)
            finally:
                self.endless += 1
        if seen.path == "/quiet":  # nothing at all for as many seconds as the query says
            time.sleep(float(seen.target.partition("?")[2]))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: end\n\n")
            raise EOFError
        if seen.path == "/long":  # an event every 100 ms for as many seconds as the query says
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for number in range(int(float(seen.target.partition("?")[2]) * 10)):
                connection.sendall(b"data: %d\n\n" % number)
                time.sleep(0.1)
            connection.sendall(b"data: end\n\n")
            raise EOFError
        connection.sendall(b"HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nseen\n")

    def got(self, number: int) -> Seen | None:
        """Return the request that carries a number."""
        return next((seen for seen in list(self.seen) if str(number) in seen.all("mcp-param-number")), None)


@dataclass
class Answer:
    """What came back: the status (0: nothing did), the headers, what followed, and what the server saw of the request."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    rest: bytes = b""
    seen: Seen | None = None

    @property
    def denied(self) -> str:
        return self.headers.get("x-gateway-denied", "")


def parsed(received: bytes) -> Answer:
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/"):
        return Answer(0, {}, received)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, rest)


def context(*alpn: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if version:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # old ones are the point
            made.minimum_version = made.maximum_version = version
        made.set_ciphers("ALL:@SECLEVEL=0")
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


class Client:
    """Speaks to the gateway of one host, from any of its addresses."""

    def __init__(self, network: Network, backend: Backend) -> None:
        self.network, self.backend = network, backend

    def connect(self, source: str, port: int = 443, to: str = "") -> socket.socket:
        mapped = source.startswith("::ffff:")
        to = to or ("::ffff:127.0.0.1" if mapped else "::1" if ":" in source else "127.0.0.1")
        with self.network.entered():
            plain = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        plain.settimeout(TIMEOUT)
        plain.bind((source, 0))
        plain.connect((to, port))
        return plain

    def secure(self, source: str, sni: str | None = HOST, tls: ssl.SSLContext | None = None, to: str = "") -> ssl.SSLSocket:
        return (tls or context()).wrap_socket(self.connect(source, to=to), server_hostname=sni)

    def raw(self, source: str, sent: bytes, port: int = 443, sni: str | None = HOST) -> bytes:
        """Send bytes and return all that comes until the other end closes."""
        received = b""
        with self.connect(source, port) if port == 80 else self.secure(source, sni) as connection:
            with contextlib.suppress(OSError):  # it was answered before all was sent
                connection.sendall(sent)
            with contextlib.suppress(OSError):  # what came before the connection was cut counts
                while chunk := connection.recv(65536):
                    received += chunk
        return received

    def ask(
        self,
        source: str,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        host: str | None = HOST,
        body: bytes = b"",
        version: str = "1.1",
        port: int = 443,
    ) -> Answer:
        """Send one request as it is written, byte for byte."""
        number = next(NUMBERS)
        lines = [
            f"{method} {target} HTTP/{version}",
            *([f"Host: {host}"] if host is not None else []),
            f"Mcp-Param-Number: {number}",
            *headers,
            "Connection: close",
        ]
        lines += [f"Content-Length: {len(body)}"] if body else []
        answer = parsed(self.raw(source, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, port))
        answer.seen = self.backend.got(number)
        return answer

    def h2(self, source: str, *requests: list[tuple[str, str]], body: bytes = b"") -> list[Answer]:
        """Send requests on one HTTP/2 connection, as unchecked as h2 lets us, and return their answers."""
        numbers = [next(NUMBERS) for _ in requests]
        answers = {1 + 2 * index: Answer(0) for index in range(len(requests))}
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False
        )
        talk = h2.connection.H2Connection(config)
        talk.initiate_connection()
        with self.secure(source, tls=context("h2")) as connection:
            assert connection.selected_alpn_protocol() == "h2"
            for stream, headers, number in zip(answers, requests, numbers, strict=True):
                talk.send_headers(stream, [*headers, ("mcp-param-number", str(number))], end_stream=not body)
                if body:
                    talk.send_data(stream, body, end_stream=True)
            waiting = set(answers)
            with contextlib.suppress(OSError):
                connection.sendall(talk.data_to_send())
                received = b""
                while waiting and (chunk := connection.recv(65536)):
                    frames, received = without_goaway(received + chunk)
                    for event in talk.receive_data(frames):
                        if isinstance(event, h2.events.ResponseReceived):
                            got = {str(name): str(value) for name, value in event.headers}
                            answers[event.stream_id].headers, answers[event.stream_id].status = got, int(got[":status"])
                        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                            waiting.discard(event.stream_id)
                    connection.sendall(talk.data_to_send())
        for answer, number in zip(answers.values(), numbers, strict=True):
            answer.seen = self.backend.got(number)
        return list(answers.values())


def without_goaway(received: bytes) -> tuple[bytes, bytes]:
    """Return the whole frames of HTTP/2 less GOAWAY, after which h2 would take no answer to what was asked before, and what is left of the next one."""
    frames = b""
    while len(received) >= 9 and len(received) >= (end := 9 + int.from_bytes(received[:3])):
        frames += received[:end] if received[3] != 7 else b""
        received = received[end:]
    return frames, received


def over_h2(path: str, method: str = "GET", authority: str = HOST, scheme: str = "https") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
