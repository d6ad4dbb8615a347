#!/usr/bin/env python3
"""Send requests through the gate at a fixed rate whatever the answers do, until standard input ends; print what came of them as JSON.

Of ten requests eight are GETs of a page that the server makes and two are POSTs that call a tool, each with a number of its own. Half go over new
connections, half over kept ones. Nothing is ever sent twice: a kept connection that was closed is a failure like any other. Beside them event
streams are open all the time, each opened anew as soon as it ends. A line a tenth of a second says how many were answered and how many wait.

All times are of the monotonic clock, which is one for this machine and the containers on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time

from wire import HOST, context

TLS = context("http/1.1")
WAIT = 60  # seconds after which a request counts as never answered
MOST = 5000  # requests that wait at a time, beyond which nothing is shown but that this machine cannot carry the load
TEXT = "x" * 500
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def call(token: str, tool: str, arguments: dict[str, object]) -> bytes:
    """Return the request that calls a tool; the server is stateless, so nothing has to go before it."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    body = json.dumps(asked).encode()
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nAccept: application/json, text/event-stream\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Failed(Exception):
    """How a request failed: unreachable, cut (before the answer), half (an answer), 5xx, other."""

    def __init__(self, how: str, detail: str = "") -> None:
        super().__init__(how, detail)
        self.how, self.detail = how, detail


class Load:
    def __init__(self, source: str, run: str, token: str) -> None:
        self.source, self.run_name, self.token = source, run, token
        self.kept: list[Connection] = []
        self.requests: list[tuple[int, str, bool, float, float, str, str]] = []
        self.streams: list[tuple[int, float, float, float, str]] = []
        self.answered = self.waiting = 0
        self.ending = False

    async def connect(self) -> Connection:
        try:
            return await asyncio.open_connection("127.0.0.1", 443, ssl=TLS, server_hostname=HOST, local_addr=(self.source, 0))
        except OSError as error:
            raise Failed("unreachable", str(error)) from error

    def post(self, number: int) -> bytes:
        return call(self.token, "note", {"text": TEXT, "call_id": f"{self.run_name}-{number}"})

    def get(self) -> bytes:
        """Return a request of a page for anybody, with the token, because one address may send only so many without."""
        return f"GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()

    @staticmethod
    async def head(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ")[1])
        if status != 200:
            raise Failed("5xx" if status >= 500 else "other", head.split(b"\r\n")[0].decode())
        return status, head

    async def ask(self, connection: Connection, sent: bytes) -> bool:
        """Send one request and read its answer; tell whether the connection may be kept."""
        reader, writer = connection
        writer.write(sent)
        await writer.drain()
        _status, head = await self.head(reader)
        try:
            body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        except asyncio.IncompleteReadError as error:
            raise Failed("half", str(error)) from error
        if sent.startswith(b"POST") and (b'"result"' not in body or b'"isError":true' in body):
            raise Failed("other", body.decode()[:200])
        return b"connection: close" not in head

    async def request(self, number: int) -> None:
        begun, kept, method = time.monotonic(), number % 2 == 0, "POST" if number % 10 in (3, 6) else "GET"
        sent = self.post(number) if method == "POST" else self.get()
        outcome, detail, connection = "answered", "", None
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT):
                connection = self.kept.pop(0) if kept and self.kept else await self.connect()
                reusable = await self.ask(connection, sent)
            self.answered += 1
            if kept and reusable:
                self.kept.append(connection)
                connection = None
        except Failed as failed:
            outcome, detail = failed.how, failed.detail
        except TimeoutError:
            outcome = "never answered"
        except (OSError, asyncio.IncompleteReadError) as error:
            outcome, detail = "cut", f"{type(error).__name__} {error}"
        finally:
            self.waiting -= 1
            if connection is not None:
                connection[1].close()
        self.requests.append((number, method, kept, begun, time.monotonic(), outcome, detail))

    async def stream(self, client: int) -> None:
        """Keep the one event stream of a client open: when it was asked for, when it began, when it ended, and how."""
        while not self.ending:
            asked, began, how = time.monotonic(), 0.0, "cut"
            writer = None
            try:
                reader, writer = await self.connect()
                head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self.token}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                async with asyncio.timeout(WAIT):
                    await self.head(reader)
                began, how = time.monotonic(), "between events"
                while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                    how = "cut"
                    await reader.readexactly(size + 2)
                    how = "between events"
                how = "clean"
            except Failed as failed:
                how = f"{failed.how} {failed.detail}"
            except TimeoutError:
                how = "never answered"
            except (OSError, asyncio.IncompleteReadError) as error:
                how = "cut" if getattr(error, "partial", b"") else how
            except asyncio.CancelledError:
                how = "open"
            finally:
                if writer is not None:
                    writer.close()
            self.streams.append((client, asked, began, time.monotonic(), how))
            if how == "open":
                return
            if not began:
                await asyncio.sleep(0.1)

    async def say(self) -> None:
        while True:
            print(json.dumps({"answered": self.answered, "waiting": self.waiting}), flush=True)
            await asyncio.sleep(0.1)

    async def run(self, rate: float, streams: int) -> None:
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        saying = asyncio.create_task(self.say())
        open_streams = [asyncio.create_task(self.stream(client)) for client in range(streams)]
        start, tasks = time.monotonic(), set[asyncio.Task[None]]()
        number = 0
        while not ended.done() and self.waiting < MOST:
            await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
            task = asyncio.create_task(self.request(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        lasted = time.monotonic() - start
        await asyncio.gather(*tasks)
        self.ending = True
        saying.cancel()
        for task in open_streams:
            task.cancel()
        await asyncio.gather(*open_streams, return_exceptions=True)
        print(json.dumps({"sent": number, "rate": number / lasted, "requests": self.requests, "streams": self.streams}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="the address to come from")
    parser.add_argument("run", help="what the numbers of its calls begin with")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--streams", type=int, default=4)
    arguments = parser.parse_args()
    asyncio.run(Load(arguments.source, arguments.run, os.environ["NOUS_VM_TOKEN"]).run(arguments.rate, arguments.streams))


if __name__ == "__main__":
    main()
