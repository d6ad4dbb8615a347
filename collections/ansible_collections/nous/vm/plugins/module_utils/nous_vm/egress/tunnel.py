# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection through the proxy: from the request to the last byte, within limits, and one line on what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ..foreign import printable
from . import hello, policy, request
from .configuration import Configuration, Entry
from .request import Denied

REQUEST = 10.0  # seconds for a request to be complete, and for the first message of TLS
LOOKUP = 10.0  # seconds that a name gets
CONNECT = 15.0  # seconds that all addresses of a name get together
BLOCK = 1 << 16
LOOKUPS = 4  # names that are looked up at a time
ANSWERS = {"method": "405 Method Not Allowed", "size": "431 Request Header Fields Too Large", "time": "408 Request Timeout"}
ANSWERS |= {"connections": "503 Service Unavailable", "lookup": "502 Bad Gateway", "connect": "502 Bad Gateway"}
OTHERWISE = "403 Forbidden"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Lookup = Callable[[str, int], Awaitable[list[str]]]
Log = Callable[[str], None]


class Stream(NamedTuple):
    """One side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Use:
    """What a connection used so far."""

    def __init__(self) -> None:
        self.begun = self.last = time.monotonic()
        self.sent = self.received = 0

    def count(self, size: int, *, outward: bool) -> None:
        self.last = time.monotonic()
        if outward:
            self.sent += size
        else:
            self.received += size


def resolver() -> Lookup:
    """Return what looks names up, a few at a time: who waits for a name holds up nobody but others who do."""
    pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")

    async def look_up(name: str, port: int) -> list[str]:
        ask = functools.partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(pool, ask)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    return look_up


class Proxy:
    """The proxy: takes connections, at most so many at a time."""

    def __init__(self, about: Configuration, log: Log, look_up: Lookup) -> None:
        self.about, self.log, self.look_up = about, log, look_up
        self.open = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See a connection through and log what came of it."""
        client, use, name = Stream(reader, writer), Use(), "-"
        self.open += 1
        try:
            if self.open > self.about.limits.connections:
                raise Denied("connections", f"more than {self.about.limits.connections} at a time")
            wanted = await self.asked(client)
            name = f"{wanted.name}:{wanted.port}"
            allowed = policy.entry(wanted, self.about.allow)
            await self.through(client, allowed, use)
            result = "done"
        except Denied as denied:
            result = f"denied ({denied.kind}): {denied}"
            await answer(client, denied)
        except OSError as error:
            result = f"failed: {printable(str(error) or type(error).__name__)}"
        finally:
            self.open -= 1
            await close(client)
        took = time.monotonic() - use.begun
        self.log(f"{name} {result}; {use.sent} bytes out, {use.received} in, {took:.1f} s")

    async def asked(self, client: Stream) -> request.Target:
        """Read the request; raise Denied."""
        content = b""
        deadline = time.monotonic() + REQUEST
        while request.END not in content:
            try:
                block = await asyncio.wait_for(client.reader.read(request.MOST), max(deadline - time.monotonic(), 0))
            except TimeoutError:
                raise Denied("time", f"the request was not complete within {REQUEST:g} s") from None
            if not block:
                raise Denied("form", f"the request ended after {len(content)} bytes")
            content += block
            if len(content.partition(request.END)[0]) > request.MOST:
                raise Denied("size", f"the request has more than {request.MOST} bytes")
        head, _end, more = content.partition(request.END)
        wanted = request.target(head)
        # A client that does not wait for the answer sends what another server of a chain could take for another request.
        if more:
            raise Denied("pipelining", "the client sent more before it was answered")
        return wanted

    async def through(self, client: Stream, allowed: Entry, use: Use) -> None:
        """Connect to what is allowed, and pass on bytes; raise Denied."""
        addresses = policy.permitted(await self.addresses(allowed), allowed)
        server = await connected(addresses, allowed.port)
        try:
            client.writer.write(ESTABLISHED)
            await client.writer.drain()
            first = await first_message(client, allowed) if allowed.tls else b""
            use.count(len(first), outward=True)
            server.writer.write(first)
            await self.relay(client, server, use)
        except Denied as denied:
            denied.answered = True
            raise
        finally:
            await close(server)

    async def addresses(self, allowed: Entry) -> list[str]:
        try:
            return await asyncio.wait_for(self.look_up(allowed.name, allowed.port), LOOKUP)
        except TimeoutError:
            raise Denied("lookup", f"{allowed.name} was not found within {LOOKUP:g} s") from None
        except OSError as error:
            raise Denied("lookup", f"{allowed.name} is not found: {printable(str(error))}") from None

    async def relay(self, client: Stream, server: Stream, use: Use) -> None:
        """Pass bytes on both ways until both sides are done; raise Denied when a limit is reached."""
        limits = self.about.limits
        ways = [asyncio.ensure_future(self.pump(client, server, use, outward=True)), asyncio.ensure_future(self.pump(server, client, use, outward=False))]
        try:
            while pending := [each for each in ways if not each.done()]:
                now = time.monotonic()
                left = min(use.begun + limits.total - now, use.last + limits.idle - now)
                if left <= 0:
                    total = now >= use.begun + limits.total
                    raise Denied("total time" if total else "idle time", f"{limits.total if total else limits.idle:g} s are over")
                await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for each in ways:
                    if each.done():
                        each.result()
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def pump(self, source: Stream, sink: Stream, use: Use, *, outward: bool) -> None:
        """Pass bytes on one way until its end."""
        while block := await source.reader.read(BLOCK):
            use.count(len(block), outward=outward)
            if use.sent + use.received > self.about.limits.size:
                raise Denied("bytes", f"more than {self.about.limits.size} bytes")
            sink.writer.write(block)
            await sink.writer.drain()
        with contextlib.suppress(OSError):  # it is gone already
            sink.writer.write_eof()


async def connected(addresses: list[str], port: int) -> Stream:
    """Connect to the first of these addresses that answers: to what was checked, with no other look at the name. Raises Denied."""
    problem, deadline = "", time.monotonic() + CONNECT
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return Stream(*await asyncio.wait_for(asyncio.open_connection(address, port, limit=BLOCK), left))
        except (OSError, TimeoutError) as error:
            problem = f"{address}: {printable(str(error) or 'no answer in time')}"
    raise Denied("connect", problem or "no address answered in time")


async def first_message(client: Stream, allowed: Entry) -> bytes:
    """Read until the first message of TLS is complete; return all that was read. Raises Denied, also if it is for another server."""
    content = b""

    async def read() -> bytes:
        nonlocal content
        while (found := hello.message(content)) is None:
            block = await client.reader.read(BLOCK)
            if not block or len(content) > 2 * hello.MOST:
                raise Denied("tls", "the client does not begin with TLS")
            content += block
        return found

    try:
        found = await asyncio.wait_for(read(), REQUEST)
    except TimeoutError:
        raise Denied("time", f"the client did not begin within {REQUEST:g} s") from None
    name = hello.server_name(found)
    if name != allowed.name:
        raise Denied("server name", f"the client means to talk to {printable(name, 80)}")
    return content


async def answer(client: Stream, denied: Denied) -> None:
    """Tell a client why it was denied, unless it was let through before."""
    if denied.answered:
        return
    body = f"nous-vm egress: denied ({denied.kind}): {denied}\n".encode("ascii", "backslashreplace")
    head = f"HTTP/1.1 {ANSWERS.get(denied.kind, OTHERWISE)}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client.writer.write(head.encode("ascii") + body)


async def close(stream: Stream) -> None:
    """Close a side within a moment, whatever it does."""
    stream.writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(stream.writer.wait_closed(), 1)
    if stream.writer.transport.get_write_buffer_size():
        stream.writer.transport.abort()


async def serve(listening: socket.socket, about: Configuration, log: Log, look_up: Lookup | None = None) -> None:
    """Take connections until cancelled."""
    proxy = Proxy(about, log, look_up or resolver())
    server = await asyncio.start_server(proxy.take, sock=listening, limit=BLOCK)
    async with server:
        await server.serve_forever()
