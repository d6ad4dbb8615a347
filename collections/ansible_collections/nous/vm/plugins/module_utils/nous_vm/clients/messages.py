# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an open enrolment as Caddy passes them on, and the answers: HTTP/1.1, one request a connection, nothing that is not needed."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from ..errors import ForeignError

FIELDS = 32  # of a query
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>nous</title>
<style>body{{font:1.1em sans-serif;max-width:40em;margin:3em auto;padding:0 1em}}button{{font:inherit;padding:.4em 1em}}</style>
<p>{text}</p>{form}
"""
FORM = '<form method="get" action="/authorize"><input type="hidden" name="enrolment" value="{code}"><button name="confirm" value="yes">{label}</button></form>'


class Request(NamedTuple):
    """A request. query: each name once. source: the address of the peer, as Caddy saw it. cookies: by name."""

    method: str
    path: str
    query: dict[str, str]
    source: str
    cookies: dict[str, str]
    length: int
    kind: str


class Reply(NamedTuple):
    """An answer. event: what the operator is told of it, empty for nothing."""

    status: int
    headers: Mapping[str, str]
    body: str
    event: str = ""

    def encoded(self) -> bytes:
        """Return it as it is sent."""
        body = self.body.encode()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (HEADERS | dict(self.headers)).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def denied(status: int, text: str, event: str = "") -> Reply:
    """Return an answer that denies, in one sentence."""
    return Reply(status, {"Content-Type": "text/plain; charset=utf-8", "X-Gateway-Denied": "enrolment"}, f"{text}\n", event)


def page(text: str, form: str = "", headers: Mapping[str, str] | None = None, event: str = "") -> Reply:
    """Return a page for a person. TEXT is plain, FORM is HTML."""
    body = PAGE.format(text=html.escape(text), form=form)
    return Reply(200, {"Content-Type": "text/html; charset=utf-8", **(headers or {})}, body, event)


def confirmation(code: str, label: str) -> str:
    """Return the form by which a person opens the enrolment: what fetches a link for a preview sends none."""
    return FORM.format(code=html.escape(code), label=html.escape(label))


def parsed(head: bytes) -> Request:
    """Return the request that a head is. Raises ForeignError for one that is not as Caddy writes it, or that says a thing twice."""
    try:
        first, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise ForeignError("it is not a request") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise ForeignError("a header has no name")
        if (key := name.lower()) in headers:
            headers[key] += f"; {value.strip()}" if key == "cookie" else f", {value.strip()}"
        else:
            headers[key] = value.strip()
    if version not in ("HTTP/1.1", "HTTP/1.0") or "transfer-encoding" in headers:
        raise ForeignError("it is not a plain request")
    path, _question, query = target.partition("?")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or len(length) > 9:
        raise ForeignError("its length is none")
    source = headers.get("x-forwarded-for", "")
    return Request(method, path, fields(query), source, _cookies(headers.get("cookie", "")), int(length), headers.get("content-type", ""))


def fields(query: str) -> dict[str, str]:
    """Return the fields of a query, each of which stands in it once. Raises ForeignError."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise ForeignError("the query cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ForeignError("the query has a field twice")
    return found


def _cookies(text: str) -> dict[str, str]:
    """Return the cookies of a request; of two that have one name, neither."""
    found: dict[str, str] = {}
    twice = set()
    for each in text.split(";"):
        name, _equals, value = each.strip().partition("=")
        twice |= {name} if name in found else set()
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice}
