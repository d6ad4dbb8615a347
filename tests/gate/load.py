#!/usr/bin/env python3
"""Send requests at a fixed rate whatever the answers do, until standard input ends; print what came of them as JSON.

Half go over new connections, half over kept ones. A kept connection that was closed before it answered is replaced once, as clients do (RFC 9112 9.3.1);
the numbers of the requests that were sent again so are told. Every request carries its number, so that the server can tell whether it got one twice.
Beside them one stream after the other is opened, each of the length given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from wire import HOST, context

TLS = context("http/1.1")
WAIT = 20


class Load:
    def __init__(self, source: str) -> None:
        self.source = source
        self.kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.took: list[float] = []
        self.failed: list[str] = []
        self.streams: list[str] = []
        self.again: list[int] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", 443, ssl=TLS, server_hostname=HOST, local_addr=(self.source, 0))

    def idle(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a kept connection that is still open."""
        while self.kept:
            reader, writer = self.kept.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    @staticmethod
    async def send(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], number: int, body: bytes) -> bool:
        """Send one request; tell whether the connection may be kept."""
        reader, writer = connection
        method = "POST" if body else "GET"
        writer.write(
            f"{method} / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer x\r\nMcp-Param-Load: {number}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ValueError(head.split(b"\r\n")[0].decode())
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        return b"connection: close" not in head

    async def request(self, number: int) -> None:
        start, kept, body = time.monotonic(), number % 2 == 0, b"x" * 500 if number % 5 < 2 else b""
        try:
            async with asyncio.timeout(WAIT):
                connection = self.idle() if kept else None
                if connection:
                    try:
                        reusable = await self.send(connection, number, body)
                    except (OSError, asyncio.IncompleteReadError) as error:
                        if getattr(error, "partial", b""):
                            raise
                        connection[1].close()
                        self.again.append(number)
                        connection = await self.connect()
                        reusable = await self.send(connection, number, body)
                else:
                    connection = await self.connect()
                    reusable = await self.send(connection, number, body)
            self.took.append(time.monotonic() - start)
            if kept and reusable:
                self.kept.append(connection)
            else:
                connection[1].close()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            self.failed.append(f"{type(error).__name__} {error}")

    async def stream(self, seconds: float) -> None:
        try:
            reader, writer = await self.connect()
            writer.write(f"GET /long?{seconds} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            received = await reader.read(-1)
            writer.close()
            self.streams.append("whole" if b"data: end" in received else "cut")
        except OSError as error:
            self.streams.append(str(error))

    async def run(self, rate: float, stream: float) -> None:
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        start, tasks = time.monotonic(), []
        for number in range(10**9):
            if ended.done():
                break
            await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(self.request(number)))
            if number % int(rate / 2) == 0:
                tasks.append(asyncio.create_task(self.stream(stream)))
        lasted = time.monotonic() - start
        await asyncio.gather(*tasks)
        took = sorted(self.took)
        cut = [each for each in self.streams if each != "whole"]
        found = {"sent": number, "rate": number / lasted, "failed": self.failed, "again": self.again, "streams": len(self.streams), "cut": cut}
        print(json.dumps(found | {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100], "worst": took[-1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--stream", type=float, default=3, metavar="SECONDS")
    arguments = parser.parse_args()
    asyncio.run(Load(arguments.source).run(arguments.rate, arguments.stream))


if __name__ == "__main__":
    main()
