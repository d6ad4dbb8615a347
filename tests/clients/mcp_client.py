#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call one tool of an MCP server as a remote client does: 401, discovery, OAuth, initialize, tools/call.

Prints one JSON object: what an unauthenticated request was answered, every request with its status, the server, the
result. Exits 1, with what was seen so far, at the first answer that stops the flow.

With --enrol it registers nothing: the command (nous-vm clients enrol NAME --detach --json, where the server is) prints its ID, its secret and a link, which the
browser opens first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

REDIRECT_URI = "http://localhost:3334/oauth/callback"  # nobody listens: the code is read from the Location header
TIMEOUT = httpx.Timeout(10, read=60)


class Rejected(Exception):
    """The flow ended early; `seen` is what was seen until then."""

    def __init__(self, reason: str, seen: dict[str, Any]) -> None:
        super().__init__(reason)
        self.seen = seen


class PinnedTransport(httpx.AsyncHTTPTransport):
    """Connects to ADDRESS (IP or IP:PORT) whatever the URL says; Host and SNI stay those of the URL."""

    def __init__(self, address: str | None, source: str | None, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, local_address=source)
        self.to = httpx.URL(f"//{address}") if address else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.to is not None:
            url = request.url
            request = httpx.Request(
                request.method,
                url.copy_with(host=self.to.host, port=self.to.port or url.port),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
        return await super().handle_async_request(request)


class Memory:
    """The SDK's token storage, for one run."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """What a person's browser does in OAuth: it is sent to /authorize, and from there back to the client with a code."""

    def __init__(self, client: Callable[[], httpx.AsyncClient], seen: dict[str, Any], link: str = "") -> None:
        self.client, self.seen, self.link = client, seen, link
        self.location: dict[str, list[str]] = {}

    async def open_link(self, browser: httpx.AsyncClient) -> None:
        """Open the link of an enrolment, and press the button that is there."""
        opened = await browser.get(self.link)
        button = re.search('<button name="([a-z]+)" value="([a-z]+)">', opened.text)
        if not button:
            raise Rejected(f"the link of the enrolment was answered {opened.status_code}: {opened.text.strip()}", self.seen)
        await browser.get(f"{self.link}&{button[1]}={button[2]}")

    async def browse(self, authorization_url: str) -> None:
        async with self.client() as browser:
            if self.link:
                await self.open_link(browser)
            answer = await browser.get(authorization_url)
        if not answer.is_redirect:
            raise Rejected(f"/authorize answered {answer.status_code}, not a redirect: {answer.text.strip()}", self.seen)
        self.location.update(parse_qs(urlsplit(answer.headers["location"]).query))

    async def come_back(self) -> tuple[str, str | None]:
        if "code" not in self.location:
            raise Rejected(f"/authorize gave no code: {self.location.get('error')}", self.seen)
        return self.location["code"][0], self.location.get("state", [None])[0]


def first_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def call(
    url: str,
    tool: str,
    arguments: dict[str, Any],
    *,
    address: str | None = None,
    source_address: str | None = None,
    browser_source: str | None = None,
    verify: ssl.SSLContext | None = None,
    enrolment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Call TOOL of the server at URL once, through all of OAuth.

    ENROLMENT, if there is one, has client_id, client_secret, and the link for the browser.

    The request that a person's browser makes (/authorize) comes from BROWSER_SOURCE, all others from SOURCE_ADDRESS.
    Raises Rejected at the first answer that stops the flow.
    """
    seen: dict[str, Any] = {"requests": []}

    async def remember(response: httpx.Response) -> None:
        seen["requests"].append([response.request.method, response.request.url.path, response.status_code])

    def client(source: str | None, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
        transport = PinnedTransport(address, source, verify or ssl.create_default_context())
        return httpx.AsyncClient(transport=transport, auth=auth, timeout=TIMEOUT, event_hooks={"response": [remember]})

    given = enrolment or {}
    browser = Browser(lambda: client(browser_source), seen, given.get("link", ""))
    memory = Memory()
    if given.get("client_id"):
        known = {key: given[key] for key in ("client_id", "client_secret")}
        memory.client = OAuthClientInformationFull.model_validate(known | {"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_post"})
    metadata = OAuthClientMetadata.model_validate({"redirect_uris": [REDIRECT_URI], "client_name": "nous.vm tests"})
    oauth = OAuthClientProvider(url, metadata, memory, browser.browse, browser.come_back)
    try:
        async with client(source_address) as stranger:
            answer = await stranger.post(url, json={})
        seen["unauthenticated"] = {
            "status": answer.status_code,
            "www_authenticate": answer.headers.get("www-authenticate"),
        }
        if answer.status_code != 401 or "resource_metadata=" not in answer.headers.get("www-authenticate", ""):
            raise Rejected(f"an unauthenticated request was answered {answer.status_code}, not 401 with metadata", seen)
        async with (
            client(source_address, oauth) as http,
            streamable_http_client(url, http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            initialized = await session.initialize()
            seen["server"] = initialized.serverInfo.model_dump(exclude_none=True)
            seen["protocol"] = initialized.protocolVersion
            result = await session.call_tool(tool, arguments)
    except Exception as error:
        cause = first_cause(error)
        if isinstance(cause, Rejected):
            raise cause from None
        raise Rejected(f"{type(cause).__name__}: {cause}", seen) from error
    text = "".join(getattr(part, "text", "") for part in result.content)
    if result.isError:
        raise Rejected(f"{tool} failed: {text}", seen)
    seen["result"] = result.structuredContent or text
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where MCP is served, for example https://nous.example.org")
    parser.add_argument("tool")
    parser.add_argument("arguments", nargs="?", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--address", metavar="IP[:PORT]", help="connect there; Host and SNI stay those of URL")
    parser.add_argument("--source-address", metavar="IP", help="connect from there")
    parser.add_argument("--browser-source", metavar="IP", help="call /authorize from there")
    parser.add_argument("--enrol", metavar="COMMAND", type=shlex.split, help="run it to be let in")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust this authority (PEM) instead of the system's")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")
    options = parser.parse_args()
    verify = ssl.create_default_context(cafile=options.ca)
    if options.insecure:
        verify.check_hostname = False
        verify.verify_mode = ssl.CERT_NONE
    enrolment = json.loads(subprocess.run(options.enrol, check=True, capture_output=True).stdout) if options.enrol else None
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    try:
        seen = asyncio.run(
            call(
                options.url,
                options.tool,
                options.arguments,
                address=options.address,
                source_address=options.source_address,
                browser_source=options.browser_source,
                verify=verify,
                enrolment=enrolment,
            )
        )
    except Rejected as rejected:
        print(json.dumps(rejected.seen, indent=2))
        sys.exit(f"mcp_client: {rejected}")
    print(json.dumps(seen, indent=2))


if __name__ == "__main__":
    main()
