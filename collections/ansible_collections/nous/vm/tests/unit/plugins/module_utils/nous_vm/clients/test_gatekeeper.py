# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use /authorize while an enrolment is open, and how a request is read."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import window
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.gatekeeper import COOKIE, Gatekeeper
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.messages import Reply, Request, fields, parsed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.window import Window, digest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import Answer

BACK = "https://claude.ai/api/mcp/auth_callback"
CODE = "5" * 32
QUERY = {"client_id": "c", "redirect_uri": BACK, "state": "s&x=y"}
OPERATOR, STRANGER = "203.0.113.7", "198.51.100.9"


class Server:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = Answer(302, {"location": f"{BACK}?code=x&state=s"}, b"")
        self.error: Exception | None = None
        self.asked: list[str] = []

    def ask(self, path: str) -> Answer:
        self.asked.append(path)
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def gate(server: Server, monkeypatch: pytest.MonkeyPatch) -> Gatekeeper:
    monkeypatch.setattr(window, "now", lambda: 100.0)
    return Gatekeeper(Window("claude", "c", [BACK], digest(CODE), 700.0, False), [f"{OPERATOR}/32"], server.ask)


def get(query: dict[str, str], source: str = STRANGER, cookie: str = "", **changes: object) -> Request:
    request = Request("GET", "/authorize", query, source, {COOKIE: cookie} if cookie else {}, 0, "")
    return request._replace(**changes)  # type: ignore[arg-type]


def opened(gate: Gatekeeper) -> str:
    """Open the link and return the cookie."""
    reply = gate.answer(get({"enrolment": CODE, "confirm": "yes"}))
    return reply.headers["Set-Cookie"].partition("=")[2].partition(";")[0]


def test_the_link_asks_first_and_then_gives_a_cookie_once(gate: Gatekeeper) -> None:
    for _preview in range(2):
        reply = gate.answer(get({"enrolment": CODE}))
        assert (reply.status, "Set-Cookie" in reply.headers, '<button name="confirm"' in reply.body) == (200, False, True)
    cookie = gate.answer(get({"enrolment": CODE, "confirm": "yes"})).headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert cookie.partition("; ")[2] in [f"Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax" for seconds in range(1, 601)]
    assert gate.answer(get({"enrolment": CODE, "confirm": "yes"})).status == 403
    assert "closed" in gate.answer(get({"enrolment": CODE})).body or gate.answer(get({"enrolment": CODE})).status == 403


def test_its_browser_is_sent_on_with_a_request_written_anew(gate: Gatekeeper, server: Server) -> None:
    reply = gate.answer(get(QUERY, cookie=opened(gate)))
    assert (reply.status, reply.headers["Location"]) == (302, f"{BACK}?code=x&state=s")
    assert server.asked == ["/authorize?client_id=c&redirect_uri=https%3A%2F%2Fclaude.ai%2Fapi%2Fmcp%2Fauth_callback&state=s%26x%3Dy"]


def test_the_operators_networks_need_no_link(gate: Gatekeeper) -> None:
    assert gate.answer(get(QUERY, OPERATOR)).status == 302


@pytest.mark.parametrize("source", [STRANGER, "", "x", f"{OPERATOR}, {STRANGER}"])
@pytest.mark.parametrize("cookie", ["", "0" * 32])
def test_nobody_else_is(gate: Gatekeeper, server: Server, source: str, cookie: str) -> None:
    opened(gate)
    assert gate.answer(get(QUERY, source, cookie)).status == 403
    assert server.asked == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(QUERY | {"client_id": "other"}, OPERATOR), 403),
        (get({"redirect_uri": BACK}, OPERATOR), 403),
        (get(QUERY | {"redirect_uri": f"{BACK}/../x"}, OPERATOR), 400),
        (get(QUERY | {"redirect_uri": "https://evil.example/"}, OPERATOR), 400),
        (get(QUERY, OPERATOR, method="POST"), 405),
        (get(QUERY, OPERATOR, length=1), 405),
        (get(QUERY, OPERATOR, path="/token"), 405),
        (get({"enrolment": "x", "confirm": "yes"}, OPERATOR), 403),
        (get({"enrolment": CODE, "x": "y"}), 403),
    ],
)
def test_what_is_denied(gate: Gatekeeper, server: Server, request_: Request, status: int) -> None:
    reply = gate.answer(request_)
    assert (reply.status, reply.headers["X-Gateway-Denied"], server.asked) == (status, "enrolment", [])


def test_nothing_after_its_time_whatever_runs_on(gate: Gatekeeper, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = opened(gate)
    monkeypatch.setattr(window, "now", lambda: 700.0)
    assert [gate.answer(each).status for each in (get(QUERY, cookie=cookie), get(QUERY, OPERATOR), get({"enrolment": CODE}))] == [403] * 3
    assert server.asked == []


def test_a_client_that_has_yet_to_register(gate: Gatekeeper) -> None:
    gate.window = gate.window._replace(client_id="")
    assert gate.answer(get(QUERY | {"client_id": ""}, OPERATOR)).body == "the client has not registered yet\n"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, {}, b""),
        Answer(302, {"location": "https://evil.example/?code=x"}, b""),
        Answer(302, {"location": f"{BACK}x?code=x"}, b""),
        Answer(302, {"location": f"{BACK}?code=x\r\nX: y"}, b""),
        Answer(302, {"location": f"{BACK}?code=x#y"}, b""),
        OSError("gone"),
    ],
)
def test_a_server_that_gives_no_code(gate: Gatekeeper, server: Server, answer: Answer | Exception) -> None:
    if isinstance(answer, Exception):
        server.error = answer
    else:
        server.answer = answer
    assert gate.answer(get(QUERY, OPERATOR)).status == 502


def test_an_answer_as_it_is_sent() -> None:
    head, _end, body = Reply(302, {"Location": "https://x/"}, "ä").encoded().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[:2] == ["HTTP/1.1 302 Found", "Content-Length: 2"]
    assert {"Location: https://x/", "Cache-Control: no-store", "Referrer-Policy: no-referrer"} <= set(lines)
    assert body == "ä".encode()


def test_a_request_as_caddy_writes_it() -> None:
    head = b"GET /authorize?a=b%26&c= HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.5\r\nCookie: a=1; b=2\r\nCookie: c=3; a=4\r\n\r\n"
    assert parsed(head) == Request("GET", "/authorize", {"a": "b&", "c": ""}, "203.0.113.5", {"b": "2", "c": "3"}, 0, "")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /authorize\r\n\r\n",
        b"GET /authorize HTTP/2\r\n\r\n",
        b"GET /authorize HTTP/1.1\r\nX\r\n\r\n",
        b"GET /authorize HTTP/1.1\r\nX : y\r\n\r\n",
        b"GET /authorize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /authorize HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /authorize HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /authorize?a=1&a=2 HTTP/1.1\r\n\r\n",
        b"GET /authorize?a HTTP/1.1\r\n\r\n",
        b"GET /authorize?a=%ff HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_a_request_that_is_read_in_two_ways(head: bytes) -> None:
    with pytest.raises(ForeignError):
        parsed(head)


def test_a_query_of_many_fields() -> None:
    with pytest.raises(ForeignError):
        fields("&".join(f"{number}=x" for number in range(33)))


def test_an_address_that_stands_twice_is_no_operators(gate: Gatekeeper) -> None:
    head = f"GET /authorize?client_id=c HTTP/1.1\r\nX-Forwarded-For: {OPERATOR}\r\nX-Forwarded-For: {STRANGER}\r\n\r\n"
    assert gate.answer(parsed(head.encode())).status == 403


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("60s", 60), ("1h", 3600)])
def test_a_duration(text: str, seconds: int) -> None:
    assert window.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "010m", "m", "59s", "61m", "2h", "1d", "-1m", "1.5m", "٣m", "99999s"])
def test_a_duration_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="for example 10m"):
        window.seconds(text)
