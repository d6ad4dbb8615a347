"""Below the requests: frames of HTTP/2, sessions of TLS, and the grammar of chunks on the way to the server."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
from collections.abc import Callable

import hpack
import pytest
from wire import HOST, OPERATOR, STRANGER, VENDOR, Client, context, over_h2, parsed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
TOKEN = "Authorization: Bearer x"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def asked(stream: int, flags: int = END_STREAM | END_HEADERS, path: str = "/authorize") -> bytes:
    return frame(HEADERS, flags, stream, hpack.Encoder().encode(over_h2(path)))


def continuations() -> bytes:
    field = b"\x00\x01a\x04" + b"bbbb"  # a literal that is not indexed
    return asked(1, END_STREAM) + frame(CONTINUATION, 0, 1, field * 100) * 3000


def bomb() -> bytes:
    """One field of 4 kB in the table, and then its number four thousand times."""
    encoded = hpack.Encoder().encode(over_h2("/authorize")) + b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 4000
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, encoded)


FRAMES: dict[str, Callable[[], bytes]] = {
    "headers without end": continuations,
    "headers that unpack to 16 MB": bomb,
    "requests that are taken back at once": lambda: b"".join(asked(1 + 2 * n) + frame(RST, 0, 1 + 2 * n, bytes(4)) for n in range(3000)),
    "a flood of settings": lambda: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1)) * 5000,
    "a flood of pings": lambda: frame(PING, 0, 0, bytes(8)) * 5000,
    "a flood of empty data": lambda: asked(1, END_HEADERS) + frame(DATA, 0, 1) * 5000,
    "nothing may be sent back": lambda: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + b"".join(asked(1 + 2 * n) for n in range(200)),
    "a window that overflows": lambda: frame(WINDOW, 0, 0, (2**31 - 1).to_bytes(4)) * 2,
    "data of no request": lambda: frame(DATA, END_STREAM, 5, b"x"),
    "a push to the server": lambda: frame(PUSH, END_HEADERS, 1, (2).to_bytes(4) + hpack.Encoder().encode(over_h2("/token"))),
    "a frame of 17 MB": lambda: b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(65536),
    "headers on an even stream": lambda: asked(2),
    "a request that depends on itself": lambda: frame(PRIORITY, 0, 3, (3).to_bytes(4) + b"\x00"),
    "another path after the body": lambda: asked(1, END_HEADERS) + asked(1, END_STREAM | END_HEADERS, "/token"),
}


@pytest.mark.parametrize("what", FRAMES)
def test_frames(client: Client, what: str) -> None:
    """Beside it a client with a token is answered as ever, and the server hears of public requests at most."""
    before = len(client.backend.seen)
    with client.secure(STRANGER, tls=context("h2")) as connection, contextlib.suppress(OSError):
        connection.settimeout(1)
        with contextlib.suppress(TimeoutError):
            connection.sendall(PREFACE + frame(SETTINGS) + FRAMES[what]())
        begun = time.monotonic()
        assert client.ask(OPERATOR, "/", TOKEN).status == 200
        assert time.monotonic() - begun < 3
    seen = [(each.target, each.all("x-forwarded-for"), each.body) for each in client.backend.seen[before:]]
    assert [each for each in seen if each not in (("/authorize", [STRANGER], b""), ("/", [OPERATOR], b""))] == []


@pytest.mark.parametrize(("first", "then", "status"), [(OPERATOR, STRANGER, 403), (STRANGER, OPERATOR, 200)])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_carries_no_right(client: Client, version: ssl.TLSVersion, first: str, then: str, status: int) -> None:
    tls, request = context(version=version), f"GET /token HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    with client.secure(first, tls=tls) as connection:
        connection.sendall(request)
        while connection.recv(65536):
            pass
        session = connection.session
    with tls.wrap_socket(client.connect(then), server_hostname=HOST, session=session) as connection:
        assert connection.session_reused
        connection.sendall(request)
        assert parsed(connection.recv(65536)).status == status


def test_a_session_of_one_name_opens_no_other(client: Client) -> None:
    tls = context(version=ssl.TLSVersion.TLSv1_2)
    with client.secure(VENDOR, tls=tls) as connection:
        session = connection.session
    with pytest.raises(ssl.SSLError), tls.wrap_socket(client.connect(VENDOR), server_hostname="other.example.org", session=session):
        pass


CHUNKS = {
    "5\r\nhello\r\n0\r\n\r\n": b"hello",
    "005\r\nhello\r\n0\r\n\r\n": b"hello",
    "5;a=b;c\r\nhello\r\n0\r\n\r\n": b"hello",
    '5;a="b\\"\r\nhello\r\n0\r\n\r\n': b"hello",
    "5\r\nhello\r\n0\r\nTrailer: x\r\nAuthorization: Bearer y\r\n\r\n": b"hello",
    "5\r\nhello\r\n000\r\n\r\n": b"hello",
    "A\r\nhellohello\r\n0\r\n\r\n": b"hellohello",
    "5 \r\nhello\r\n0\r\n\r\n": b"hello",
    "5\nhello\n0\n\n": None,
    "5\r\nhello0\r\n\r\n": None,
    "5\r\nhelloX\r\n0\r\n\r\n": None,
    "0x5\r\nhello\r\n0\r\n\r\n": None,
    "+5\r\nhello\r\n0\r\n\r\n": None,
    "-5\r\nhello\r\n0\r\n\r\n": None,
    "\r\nhello\r\n0\r\n\r\n": None,
    "10000000000000005\r\nhello\r\n0\r\n\r\n": None,
    "5\r\nhello\r\n0\r\nno trailer\r\n\r\n": None,
    "5\x00\r\nhello\r\n0\r\n\r\n": None,
}


@pytest.mark.parametrize("chunks", CHUNKS, ids=range(len(CHUNKS)))
def test_chunks(client: Client, chunks: str) -> None:
    """The server gets the body that was meant, and no field behind it, or nothing."""
    before = len(client.backend.seen)
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n{TOKEN}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    client.raw(OPERATOR, (head + chunks).encode())
    bodies = [seen.body for seen in client.backend.seen[before:]]
    assert bodies in ([], [CHUNKS[chunks]]), bodies
    assert [seen for seen in client.backend.seen[before:] if seen.all("authorization") != ["Bearer x"] or seen.all("trailer")] == []
