"""What the local proxy sends again, and how often: nothing that the server may have seen."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from conftest import FULL, Host, only_full
from wire import HOST, OPERATOR, STRANGER, Client

TOKEN = "Authorization: Bearer x"
ASKED = {
    "GET": (OPERATOR, "GET", [TOKEN]),
    "POST": (OPERATOR, "POST", [TOKEN]),
    "stream": (OPERATOR, "GET", [TOKEN, "Accept: text/event-stream"]),
    "without a token": (OPERATOR, "GET", []),
    "public": (STRANGER, "GET", []),
}


class Broken:
    """A server that ends every connection as soon as it has read something, as one that dies of it does, and counts."""

    def __init__(self, host: Host, reset: bool) -> None:
        self.times, self.reset = 0, reset
        with host.network.entered():
            self.listener = socket.create_server(("127.0.0.1", 8088))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    self.times += bool(connection.recv(65536))
                    if self.reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@contextlib.contextmanager
def broken(host: Host, reset: bool) -> Iterator[Broken]:
    host.backend.stop()
    made = Broken(host, reset)
    try:
        yield made
    finally:
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
        host.backend.start()


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_what_the_server_may_have_seen_is_not_sent_again(host: Host, what: str, reset: bool) -> None:
    """A GET was sent 1201 times in 1 to 2.6 s, and a server that died of one died 8 times of it."""
    source, method, headers = ASKED[what]
    with broken(host, reset) as server:
        answer = host.client.ask(source, "/authorize", *headers, method=method)
        assert (answer.status, server.times) == (502, 1)


def test_a_server_that_is_away_is_waited_for(host: Host) -> None:
    """The one kind of failure with a budget: nobody listened."""
    host.backend.stop()
    begin = threading.Timer(1.0, host.backend.start)
    begin.start()
    begun = time.monotonic()
    answer = host.client.ask(OPERATOR, "/", TOKEN, method="POST", body=b"x")
    begin.join()
    assert answer.seen and answer.status == 200
    assert time.monotonic() - begun >= 1


LONG = 200 if FULL else 40


@only_full("it takes as long as it says")
@pytest.mark.parametrize("kind", ["quiet", "long"])
def test_long_calls_and_streams(client: Client, kind: str) -> None:
    """A call whose answer takes 200 s, and a stream on which something happens all the time: longer than any limit of time for who does nothing."""
    with client.secure(OPERATOR) as connection:
        connection.settimeout(LONG + 60)
        connection.sendall(f"GET /{kind}?{LONG} HTTP/1.1\r\nHost: {HOST}\r\n{TOKEN}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200")
    assert b"data: end" in received


@only_full("it takes a minute")
def test_who_does_not_read_is_cut(host: Host) -> None:
    """And holds no place at the server from then on."""
    before = host.backend.endless
    with host.client.secure(OPERATOR) as connection:
        connection.sendall(f"GET /endless HTTP/1.1\r\nHost: {HOST}\r\n{TOKEN}\r\n\r\n".encode())
        begun = time.monotonic()
        while host.backend.endless == before:
            assert time.monotonic() - begun < 90, "the server is still sending"
            time.sleep(0.5)  # how often to look
        print(f"cut after {time.monotonic() - begun:.0f} s")
