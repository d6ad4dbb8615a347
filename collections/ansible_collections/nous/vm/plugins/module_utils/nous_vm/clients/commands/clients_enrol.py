# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let one client in: register it, print what it is to be given and the link for your browser, and wait for its first token.

The client gets URL, client ID and secret: in the hosted client the advanced fields of a connector, in mcp-remote --static-oauth-client-info. Open the link in
the browser that the client will use, and connect. Nobody else can: the link works once. Until the client has its first token, the one from before it works on.

--dynamic is for a client that cannot be given an ID: it may register itself once, from a listed network.
--detach prints and returns; nous-vm clients wait then waits. --json needs it, and prints {"name", "url", "client_id", "client_secret",
"token_endpoint_auth_method", "link", "seconds"}.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result, only_root
from ...errors import UsageError
from ...output import write
from .. import outcome
from ..configuration import load
from ..enrolment import PUBLIC, SECRET, Details, begin, complete, free, stop
from ..window import seconds
from .clients_wait import result

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm clients enrol claude --for 10m"
LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}/[A-Za-z0-9._~/-]*")
SPARE = 150.0  # seconds beyond its time in which it is completed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what you call the client, for example claude")
    parser.add_argument("--for", dest="window", default="10m", metavar="TIME", help="how long it stays open, 60s to 1h (default: 10m)")
    parser.add_argument("--redirect-uri", action="append", default=[], metavar="URI", help="a loopback address of a client on your own machine, with its port")
    parser.add_argument("--public", action="store_true", help="without a secret, for a client that sends none in the body of its request for a token")
    parser.add_argument("--dynamic", action="store_true", help="the client registers itself")
    parser.add_argument("--detach", action="store_true", help="print and return")


def run(arguments: argparse.Namespace) -> Result:
    only_root("lets a client in")
    if arguments.json and not arguments.detach:
        raise UsageError("--json needs --detach; nous-vm clients wait --json then prints what came of it")
    for uri in arguments.redirect_uri:
        if not LOOPBACK.fullmatch(uri):
            example = "http://localhost:3334/oauth/callback; caddy_gateway_redirect_uris names others"
            raise UsageError(f"--redirect-uri is {uri!r}; allowed are loopback addresses with a port, for example {example}")
    config, window = load(), seconds(arguments.window)
    free(config)
    with locks.held("clients", f"enrol {arguments.name}", wait=SPARE):
        details = begin(config, arguments.name, window, arguments.redirect_uri, arguments.dynamic, PUBLIC if arguments.public else SECRET)
    if arguments.detach:
        return Result(details._asdict(), text(details))
    write(f"{text(details)}\n\nWaiting for its first token. Ctrl-C closes the enrolment.")
    found = None
    try:
        for each in outcome.follow(details.seconds + SPARE):
            if isinstance(each, str):
                write(f"  {each}")
            else:
                found = each
    except KeyboardInterrupt:
        stop()
        with locks.held("clients", "close", wait=SPARE):
            complete(config)
        found = outcome.read()
    return result(found)


def text(details: Details) -> str:
    """Return what a person reads."""
    lines = [f"An enrolment of {details.name} is open for {details.seconds // 60} min {details.seconds % 60} s.", "", "Give the client"]
    lines += [f"  URL            {details.url}"]
    if details.client_id:
        lines += [f"  client ID      {details.client_id}", f"  client secret  {details.client_secret or 'none'}"]
        lines += [f"  (token_endpoint_auth_method {details.token_endpoint_auth_method})"]
    lines += ["", "Open this link in the browser that the client will use; it works once:", f"  {details.link}", "", "Then connect."]
    return "\n".join(lines)
