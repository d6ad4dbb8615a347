# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use /authorize while an enrolment is open: the browser that opened its link, or one in the operator's networks; for one client and its addresses."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from ..errors import ForeignError
from ..foreign import printable
from ..network import listed
from ..peers import Answer
from .messages import Reply, Request, confirmation, denied, page
from .window import Window, digest, now

COOKIE = "__Host-nous-enrolment"
CODE = "enrolment"
CONFIRM = "confirm"
CLOSED = "no enrolment is open; its operator opens one on the host: sudo nous-vm clients enrol NAME"
LINK = "only the browser that opened the link of this enrolment, as nous-vm clients enrol printed it, may go on here; open it, and connect again"
USED = "the link of this enrolment was used already; if that was not you, close the enrolment with Ctrl-C and begin another"


class Gatekeeper:
    """Judges the requests of one window. ask: sends the server a request for a path and returns its answer."""

    def __init__(self, window: Window, operator_cidrs: list[str], ask: Callable[[str], Answer]) -> None:
        self.window, self.operator_cidrs, self.ask = window, operator_cidrs, ask
        self.cookie = ""  # its SHA-256; empty until the link was used

    def answer(self, request: Request) -> Reply:
        """Return the answer to a request for /authorize."""
        if not self.window.is_open():
            return denied(403, CLOSED)
        if request.path != "/authorize" or request.method != "GET" or request.length:
            return denied(405, "only GET, without a body")
        if CODE in request.query:
            return self._link(request)
        if not (self._knows(request) or self._is_operators(request)):
            return denied(403, LINK, f"a browser at {printable(request.source)} without the link was denied")
        return self._authorize(request)

    def _link(self, request: Request) -> Reply:
        code = request.query[CODE]
        if set(request.query) - {CODE, CONFIRM} or not self.window.opened_by(code):
            return denied(403, LINK, f"a browser at {printable(request.source)} with another link was denied")
        if self.cookie and not self._knows(request):
            return denied(403, USED, f"the link was opened once more, at {printable(request.source)}, and denied")
        if CONFIRM not in request.query:
            text = f"An enrolment of {self.window.name} is open. Whoever goes on lets this client use the server, from this browser."
            return page(text, confirmation(code, f"Let {self.window.name} in"))
        value = secrets.token_hex(16)
        self.cookie = digest(value)
        seconds = max(int(self.window.until - now()), 1)
        cookie = f"{COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"
        text = f"This browser may now let {self.window.name} in. Go back to the client and connect."
        return page(text, headers={"Set-Cookie": cookie}, event=f"the link was opened by a browser at {printable(request.source)}")

    def _knows(self, request: Request) -> bool:
        value = request.cookies.get(COOKIE, "")
        return bool(self.cookie) and hmac.compare_digest(digest(value), self.cookie)

    def _is_operators(self, request: Request) -> bool:
        try:
            return listed(str(ipaddress.ip_address(request.source)), self.operator_cidrs)
        except ValueError:
            return False

    def _authorize(self, request: Request) -> Reply:
        client_id, back = request.query.get("client_id", ""), request.query.get("redirect_uri", "")
        if not self.window.client_id:
            return denied(403, "the client has not registered yet", "a browser came before its client had registered")
        if client_id != self.window.client_id:
            return denied(
                403, "this enrolment is for another client; give the client the ID that nous-vm clients enrol printed", "another client ID was denied"
            )
        if back not in self.window.redirect_uris:
            text = "this redirect_uri is not on the list of the enrolment; caddy_gateway_redirect_uris or --redirect-uri names it"
            return denied(400, text, f"the redirect_uri {printable(back)} was denied")
        try:
            answer = self.ask(f"/authorize?{urlencode(request.query)}")
        except (OSError, ForeignError) as error:
            return denied(502, "the server does not answer", f"the server does not answer: {printable(str(error))}")
        location = answer.headers.get("location", "")
        if answer.status not in (302, 303, 307) or not _leads_to(location, back):
            return denied(502, f"the server answers {answer.status}, and not with a code", f"the server answered {answer.status} to /authorize")
        return Reply(302, {"Location": location}, "", f"a code was given to a browser at {printable(request.source)}")


def _leads_to(location: str, back: str) -> bool:
    """Tell whether a location is an address of the list with nothing but a query added, in characters that a header may have."""
    if not location.isascii() or not location.isprintable():
        return False
    found, wanted = urlsplit(location), urlsplit(back)
    return found[:3] == wanted[:3] and not found.fragment and found.query.startswith(wanted.query)
