# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one form of a request, and every other that is denied."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.request import Denied, Target, is_literal, target

GOOD = "api.anthropic.com:443"


def head(authority: str = GOOD, *headers: str, first: str = "CONNECT {} HTTP/1.1") -> bytes:
    return "\r\n".join([first.format(authority), *headers]).encode("latin-1")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (head(), Target("api.anthropic.com", 443)),
        (head("API.Anthropic.com:443"), Target("api.anthropic.com", 443)),
        (head(GOOD, "Host: api.anthropic.com:443", "User-Agent: x"), Target("api.anthropic.com", 443)),
        (head(GOOD, "host:api.anthropic.com", "Proxy-Connection: Keep-Alive"), Target("api.anthropic.com", 443)),
        (head("a.b:65535", first="CONNECT {} HTTP/1.0"), Target("a.b", 65535)),
    ],
)
def test_what_is_taken(given: bytes, wanted: Target) -> None:
    assert target(given) == wanted


DENIED = {
    "plain HTTP": ("method", head(first="GET http://api.anthropic.com/ HTTP/1.1")),
    "another method": ("method", head(first="connect {} HTTP/1.1")),
    "HTTP/2": ("method", head(first="PRI * HTTP/2.0")),
    "another version": ("form", head(first="CONNECT {} HTTP/2.0")),
    "two blanks": ("form", head(first="CONNECT  {} HTTP/1.1")),
    "nothing": ("method", b""),
    "a URL": ("port", head("https://api.anthropic.com/")),
    "a path": ("port", head("api.anthropic.com:443/x")),
    "no port": ("port", head("api.anthropic.com")),
    "port 0": ("port", head("api.anthropic.com:0")),
    "a port with a zero before it": ("port", head("api.anthropic.com:0443")),
    "a port that wraps": ("port", head("api.anthropic.com:65979")),
    "a port with a sign": ("port", head("api.anthropic.com:+443")),
    "userinfo": ("userinfo", head("api.anthropic.com@evil.example.org:443")),
    "userinfo with a password": ("userinfo", head("a:b@api.anthropic.com:443")),
    "IPv4": ("literal", head("160.79.104.10:443")),
    "IPv4 as one number": ("literal", head("2130706433:443")),
    "IPv4 in two parts": ("literal", head("127.1:443")),
    "IPv4 in hexadecimal": ("literal", head("0x7f000001:443")),
    "IPv4 in octal": ("literal", head("0177.0.0.01:443")),
    "IPv4 with a dot": ("literal", head("127.0.0.1.:443")),
    "IPv6": ("literal", head("[2607:6bc0::10]:443")),
    "IPv6 of IPv4": ("literal", head("[::ffff:127.0.0.1]:443")),
    "IPv6 without brackets": ("literal", head("::1:443")),
    "IPv6 with a zone": ("literal", head("[fe80::1%25eth0]:443")),
    "a name with a dot": ("name", head("api.anthropic.com.:443")),
    "one label": ("name", head("localhost:443")),
    "a name that ends in a number": ("name", head("api.anthropic.1:443")),
    "an underscore": ("name", head("_x.anthropic.com:443")),
    "a zero byte": ("form", head("api.anthropic.com\0.evil.org:443")),
    "not ASCII": ("form", head("\xe0pi.anthropic.com:443")),
    "another host": ("host header", head(GOOD, "Host: evil.example.org")),
    "two hosts": ("host header", head(GOOD, "Host: api.anthropic.com", "Host: api.anthropic.com")),
    "another port of the host": ("host header", head(GOOD, "Host: api.anthropic.com:8443")),
    "a body": ("body", head(GOOD, "Content-Length: 30")),
    "a chunked body": ("body", head(GOOD, "TRANSFER-ENCODING: chunked")),
    "an upgrade": ("body", head(GOOD, "Upgrade: websocket")),
    "a header over two lines": ("form", head(GOOD, "X: y", " Content-Length: 3")),
    "a blank before the colon": ("form", head(GOOD, "Content-Length : 3")),
    "a bare line feed": ("form", head(GOOD, "X: y\nHost: evil.example.org")),
    "a bare carriage return": ("form", head(GOOD, "X: y\rz")),
    "a bare line feed behind the first line": ("form", head("api.anthropic.com:443 HTTP/1.1\nX: y", first="CONNECT {}")),
    "a bare line feed at the end": ("form", head(GOOD, "X: y\n")),
    "a control character": ("form", head(GOOD, "X: \x1b[2J")),
    "too many headers": ("size", head(GOOD, *["X: y"] * 33)),
}


@pytest.mark.parametrize(("kind", "given"), DENIED.values(), ids=DENIED.keys())
def test_what_is_denied(kind: str, given: bytes) -> None:
    with pytest.raises(Denied) as denied:
        target(given)
    assert denied.value.kind == kind, denied.value
    assert "\x1b" not in str(denied.value)


@pytest.mark.parametrize("host", ["1", "1.2.3.4", "0x", "::", "[x]", "1.2.3"])
def test_an_address_in_any_form(host: str) -> None:
    assert is_literal(host)


@pytest.mark.parametrize("host", ["a", "1a.example.org", "1.2.3.4.example.org", "0xg.org"])
def test_a_name_that_looks_like_one(host: str) -> None:
    assert not is_literal(host)
