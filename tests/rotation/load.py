# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call a tool again and again through sessions of the public MCP SDK, until SIGTERM: load.py URL SOCKET SESSIONS FILE TOOL SIZE.

The server is asked through its unix socket, without what would stand in front of that. A session that ends, because the server is started anew
say, is followed by another. FILE gets the entry_hash of every record that the server reported as written, one a line; of another tool than
note, its answer. SIZE: of a note, in characters.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TextIO
from urllib.parse import parse_qs, urlsplit

import httpx
import mcp_client
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

METADATA = OAuthClientMetadata.model_validate({"redirect_uris": [mcp_client.REDIRECT_URI], "client_name": "nous.vm load"})


class Behind(httpx.AsyncHTTPTransport):
    """Speaks plain HTTP to a unix socket, whatever the URL says; the Host header stays that of the URL."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(scheme="http")
        return await super().handle_async_request(httpx.Request(request.method, url, headers=request.headers, stream=request.stream))


async def calls(url: str, uds: str, tool: str, size: int, stop: asyncio.Event, out: TextIO) -> None:
    """Go through OAuth once and call until told to stop; raises when the server does not answer."""
    location: dict[str, list[str]] = {}

    def client(auth: httpx.Auth | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Behind(uds=uds), auth=auth, timeout=10)

    async def browse(authorization_url: str) -> None:
        async with client() as browser:
            location.update(parse_qs(urlsplit((await browser.get(authorization_url)).headers["location"]).query))

    async def come_back() -> tuple[str, str | None]:
        return location["code"][0], location.get("state", [None])[0]

    oauth = OAuthClientProvider(url, METADATA, mcp_client.Memory(), browse, come_back)
    async with client(oauth) as http, streamable_http_client(url, http_client=http) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        while not stop.is_set():
            result = await session.call_tool(tool, {"text": "x" * size} if tool == "note" else {})
            if result.isError or not result.structuredContent:
                raise RuntimeError(str(result.content))
            out.write(result.structuredContent["entry_hash" if tool == "note" else "result"] + "\n")


async def main(url: str, uds: str, sessions: int, tool: str, size: int, out: TextIO) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ended = 0

    async def keep_on() -> None:
        nonlocal ended
        while not stop.is_set():
            try:
                await calls(url, uds, tool, size, stop, out)
            except Exception:  # noqa: BLE001 - the server is away, in whatever way
                ended += 1
                await asyncio.sleep(0.1)

    await asyncio.gather(*(keep_on() for _number in range(sessions)))
    print(f"{ended} sessions ended before their time", flush=True)


logging.getLogger("mcp").addHandler(logging.NullHandler())
with open(sys.argv[4], "a", encoding="utf-8", buffering=1) as file:
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[5], int(sys.argv[6]), file))
