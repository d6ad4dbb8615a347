"""What is asked, by whom, what is answered, and whether the server sees it."""

from __future__ import annotations

import pytest
from wire import HOST, OPERATOR, OPERATOR_6, PUBLIC, STRANGER, STRANGER_6, VENDOR, Answer, Client, over_h2, parsed

INSIDE = [VENDOR, OPERATOR, OPERATOR_6, f"::ffff:{OPERATOR}"]
OUTSIDE = [STRANGER, STRANGER_6, "127.0.0.1", "::1", f"::ffff:{STRANGER}"]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW", "get", "PRI"]
SPELLINGS = rb"""
    /AUTHORIZE /Authorize //authorize ///authorize /./authorize /x/../authorize /token/../authorize /authorize/../token /authorize/ /authorize//
    /authorize. /authorize%20 /authorize%00 /authorize%09 /authorize%0a /authorize%0d%0a /authorize%3f /authorize%3F/../token /authorize%23 /authorize%2f
    /authorize%2f..%2ftoken /authorize;x /authorize;/../token /authorize/.. /authorize/%2e%2e/token /%61uthorize /%2561uthorize /authorize%c0%af
    /authorize\ /\authorize \authorize /authorize/token /authorizex /authorize* /* /authorize%25 /authorize%e2%80%8b /authorize%ef%bc%8f..%ef%bc%8ftoken
    /.well-known/ /.well-known/oauth-authorization-server/mcp /.well-known/openid-configuration /.well-known%2foauth-authorization-server
    /.well-known//oauth-authorization-server /.WELL-KNOWN/oauth-authorization-server /.well-known/oauth-authorization-server/../../token
    / /token /register /revoke /mcp ?/authorize /?/authorize /#/authorize /x?/../authorize /token#/authorize /token;/authorize /token%3f/authorize
    /authorize#x /authorize&x authorize . .. /.. %2fauthorize /authorize|x /{path} /{http.request.uri.path} /%7bpath%7d
""".decode().split()
FORGED = [
    *(f"{name}: {VENDOR}" for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Cluster-Client-IP")),
    *(f"{name}: {VENDOR}" for name in ("Fastly-Client-IP", "X-Original-Forwarded-For", "X-Forwarded", "x-forwarded-for", "X_Forwarded_For")),
    *(f"Forwarded: for={VENDOR}", f"X-Forwarded-For: {VENDOR}, {STRANGER}", f"X-Forwarded-For:\t{VENDOR}", "X-Forwarded-Host: localhost"),
]
REWRITES = ["X-Original-URL: /authorize", "X-Rewrite-URL: /authorize", "X-HTTP-Method-Override: GET", "X-Forwarded-Path: /authorize", "X-Forwarded-Prefix: /x"]
HOSTS = ["other.example.org", f"{HOST}.", "localhost", "127.0.0.1", "[::1]", f"{HOST}.example.org", f"x.{HOST}", "", "*", f"{HOST}@other.example.org"]


def assert_denied(answer: Answer, reason: str = "address") -> None:
    """By the gateway, with its reason, or by Caddy itself, because it is no HTTP; a CONNECT and `*` are answered by Go alone."""
    status = {"address": 403, "host": 421, "path": 400}[reason]
    assert answer.seen is None
    assert (answer.status, answer.denied) == (status, reason) or answer.status in (0, 400, 405, 501, 505), answer


@pytest.mark.parametrize("source", INSIDE)
@pytest.mark.parametrize("target", ["/", "/token", "/authorize", "/x/../authorize", "/%61uthorize?x=y", "//token"])
def test_listed(client: Client, source: str, target: str) -> None:
    answer = client.ask(source, target)
    assert answer.status == 200
    assert answer.seen
    assert answer.seen.target == target, "the server sees what was sent"


@pytest.mark.parametrize("source", OUTSIDE)
@pytest.mark.parametrize("target", ["/", "/token", "/x/../authorize"])
def test_not_listed(client: Client, source: str, target: str) -> None:
    answer = client.ask(source, target)
    assert (answer.status, answer.denied) == (403, "address")
    assert answer.seen is None
    assert source.removeprefix("::ffff:").encode() in answer.rest, "a denied client is told the address that the gateway saw"


@pytest.mark.parametrize("target", SPELLINGS)
def test_spelling(client: Client, target: str) -> None:
    assert_denied(client.ask(STRANGER, target))
    assert_denied(client.ask(STRANGER, target, version="1.0"))


@pytest.mark.parametrize("target", [target for target in SPELLINGS if target.startswith("/") and "#" not in target])
def test_spelling_over_h2(client: Client, target: str) -> None:
    assert_denied(client.h2(STRANGER, over_h2(target))[0])


@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("query", ["", "?", "?client_id=x&redirect_uri=https%3A%2F%2Fclient.example.org%2F", "?/../token", "?x?y", "?%"])
def test_public(client: Client, path: str, query: str) -> None:
    for answer in (client.ask(STRANGER, path + query), client.ask(STRANGER, path + query, version="1.0"), client.h2(STRANGER, over_h2(path + query))[0]):
        assert answer.status == 200
        assert answer.seen
        assert (answer.seen.path, answer.seen.all("x-forwarded-for")) == (path, [STRANGER])


@pytest.mark.parametrize("method", METHODS)
def test_method(client: Client, method: str) -> None:
    assert_denied(client.ask(STRANGER, "/", method=method))
    assert_denied(client.ask(STRANGER, "/token", method=method, body=b"x"))
    assert_denied(client.h2(STRANGER, over_h2("/token", method))[0])


@pytest.mark.parametrize("header", FORGED)
def test_forged(client: Client, header: str) -> None:
    assert_denied(client.ask(STRANGER, "/", header))
    for source in (OPERATOR, STRANGER):
        seen = client.ask(source, "/authorize", header).seen
        assert seen
        assert seen.all("x-forwarded-for") == [source]
        # A header in no proxy's spelling is nobody's address.
        assert [item for item in seen.headers if VENDOR in item[1] and "_" not in item[0]] == []


@pytest.mark.parametrize("header", REWRITES)
def test_rewritten(client: Client, header: str) -> None:
    assert_denied(client.ask(STRANGER, "/token", header))


@pytest.mark.parametrize("name", ["Connection: X-Forwarded-For", "Connection: close, X-Forwarded-For", "Connection: Host"])
def test_hop_by_hop(client: Client, name: str) -> None:
    """A client cannot have the peer's address taken out on the way."""
    seen = client.ask(STRANGER, "/authorize", name, f"X-Forwarded-For: {VENDOR}").seen
    assert seen
    assert seen.all("x-forwarded-for") == [STRANGER]
    assert seen.all("host") == [HOST]


def test_protocol_headers_pass(client: Client) -> None:
    names = ["Mcp-Session-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-X", "Last-Event-ID", "Authorization", "Accept", "Origin"]
    seen = client.ask(OPERATOR, "/", *(f"{name}: 1" for name in names)).seen
    assert seen
    assert [name for name in names if seen.all(name.lower()) != ["1"]] == []


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("target", ["/", "/authorize"])
def test_host(client: Client, name: str, target: str) -> None:
    assert_denied(client.ask(VENDOR, target, host=name), "host")
    assert_denied(client.h2(VENDOR, over_h2(target, authority=name))[0], "host")


@pytest.mark.parametrize("headers", [[], [f"Host: {HOST}", "Host: other.example.org"], [f"Host : {HOST}"], [f" Host: {HOST}"]])
def test_no_host_or_two(client: Client, headers: list[str]) -> None:
    assert_denied(client.ask(VENDOR, "/", *headers, host=None), "host")
    assert_denied(client.ask(VENDOR, "/", *headers, host=None, version="1.0"), "host")


@pytest.mark.parametrize("authority", [HOST, f"{HOST}:443", HOST.upper()])
def test_host_in_other_words(client: Client, authority: str) -> None:
    """The same host: who is listed comes in, who is not does not."""
    assert client.ask(OPERATOR, "/", host=authority).seen
    assert_denied(client.ask(STRANGER, "/", host=authority))


@pytest.mark.parametrize(
    "target", [f"https://{HOST}/token", f"http://{HOST}/token", f"https://{HOST}", f"https://{HOST}//authorize", f"https://x@{HOST}/token"]
)
def test_absolute_form(client: Client, target: str) -> None:
    assert_denied(client.ask(STRANGER, target))


@pytest.mark.parametrize("target", ["https://other.example.org/authorize", "http://127.0.0.1:8088/authorize", "ftp://x/authorize", "https:///token", "//x"])
def test_absolute_form_elsewhere(client: Client, target: str) -> None:
    answer = client.ask(STRANGER, target)
    assert answer.seen is None
    assert answer.status in (400, 403, 421), answer


def test_absolute_form_wins_over_host(client: Client) -> None:
    assert_denied(client.ask(OPERATOR, "https://other.example.org/", host=HOST), "host")
    seen = client.ask(STRANGER, f"https://{HOST}/authorize?x", host="other.example.org").seen
    assert seen is None or (seen.path, seen.all("host")) == ("/authorize", [HOST])


INNER = f"GET /token HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {VENDOR}\r\n\r\n"
SMUGGLED = {
    "CL.TE": f"Content-Length: {len(INNER) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}",
    "TE.CL": f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{len(INNER):x}\r\n{INNER}\r\n0\r\n\r\n",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(INNER)}\r\n\r\n{INNER}",
    "two lengths in one": f"Content-Length: 0, {len(INNER)}\r\n\r\n{INNER}",
    "signed length": f"Content-Length: +0\r\n\r\n{INNER}",
    "negative length": f"Content-Length: -1\r\n\r\n{INNER}",
    "hexadecimal length": f"Content-Length: 0x0\r\n\r\n{INNER}",
    "TE with a blank": f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{INNER}",
    "TE with a tab": f"Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{INNER}",
    "TE in another case": f"transfer-encoding: ChUnKeD\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{INNER}",
    "TE twice": f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{INNER}",
    "TE of two": f"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{INNER}",
    "TE unknown": f"Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{INNER}",
    "TE folded": f"Transfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{INNER}",
    "TE with a vertical tab": f"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{INNER}",
    "bare line feeds": f"Content-Length: 0\n\n{INNER}",
    "bare carriage return": f"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}",
    "line feed in a chunk's size": f"Transfer-Encoding: chunked\r\n\r\n0\n\n{INNER}",
    "chunk extension": f"Transfer-Encoding: chunked\r\n\r\n0;{'x' * 20}\r\n\r\n{INNER}",
    "overflowing chunk": f"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\n{INNER}",
    "trailer": f"Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\n\r\n0\r\nX-Forwarded-For: {VENDOR}\r\n\r\n{INNER}",
    "NUL in a header": f"X: \x00y\r\n\r\n{INNER}",
    "after a GET with a body": f"Content-Length: {len(INNER)}\r\n\r\n{INNER}",
    "expectation": f"Expect: 100-continue\r\nContent-Length: {len(INNER)}\r\n\r\n{INNER}",
    "upgrade": f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n{INNER}",
    "upgrade to h2c": f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{INNER}",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("shape", SMUGGLED)
def test_smuggled(client: Client, shape: str, method: str) -> None:
    """What a stranger hides behind a public request never becomes one of its own; and what is within a body stays there."""
    before = len(client.backend.seen)
    received = client.raw(STRANGER, f"{method} /authorize HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{SMUGGLED[shape]}".encode("latin-1"))
    assert parsed(received).status in (0, 100, 200, 400, 403, 417, 501, 502), received
    assert [seen.target for seen in client.backend.seen[before:] if (seen.target, seen.all("x-forwarded-for")) != ("/authorize", [STRANGER])] == []


HEADS = {
    "no version": f"GET /token\r\nHost: {HOST}\r\n\r\n",
    "HTTP/0.9": "GET /token\r\n",
    "HTTP/2.0 in words": f"GET /token HTTP/2.0\r\nHost: {HOST}\r\n\r\n",
    "HTTP/1.2": f"GET /token HTTP/1.2\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "HTTP/9.9": f"GET /token HTTP/9.9\r\nHost: {HOST}\r\n\r\n",
    "two blanks": f"GET  /token HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "a tab": f"GET\t/token\tHTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a blank in the target": f"GET /token /authorize HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a leading line": f"\r\nGET /token HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "a NUL in the target": f"GET /authorize\x00/../token HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a byte above ASCII": f"GET /authorize\xff HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "a carriage return in the target": f"GET /authorize\r/token HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "no method": f" /token HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a header without a name": f"GET /token HTTP/1.1\r\nHost: {HOST}\r\n: x\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's line": f"PROXY TCP4 {VENDOR} 127.0.0.1 40000 443\r\nGET /token HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a proxy's line, version 2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xa0\x4f\x68\x09\x7f\x00\x00\x01\x9c\x40\x01\xbbGET /token HTTP/1.1\r\n\r\n",
    "authority form": f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "authority form, the server's": "CONNECT 127.0.0.1:8088 HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS)
def test_malformed(client: Client, head: str) -> None:
    before = len(client.backend.seen)
    answer = parsed(client.raw(STRANGER, HEADS[head].encode("latin-1")))
    assert answer.status in (0, 400, 403, 405, 421, 505), answer
    assert client.backend.seen[before:] == []


@pytest.mark.parametrize("first", ["/authorize", "/token"])
def test_pipelined(client: Client, first: str) -> None:
    """Every request of a connection is judged by itself, whatever the one before was."""
    before = len(client.backend.seen)
    targets = [first, "/token", "/authorize", "/register", "/authorize?x"]
    sent = "".join(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for target in targets) + f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    received = client.raw(STRANGER, sent.encode())
    statuses = [int(part[:3]) for part in received.decode().split("HTTP/1.1 ")[1:]]
    assert statuses == [200 if target.startswith("/authorize") else 403 for target in [*targets, "/"]]
    assert [seen.target for seen in client.backend.seen[before:]] == [target for target in targets if target.startswith("/authorize")]


def test_multiplexed(client: Client) -> None:
    paths = ["/authorize", "/token", "/authorize?x", "/", "/%61uthorize"] * 4
    answers = client.h2(STRANGER, *map(over_h2, paths))
    assert [answer.status for answer in answers] == [200 if path.startswith("/authorize") else 403 for path in paths]
    assert [answer.seen is not None for answer in answers] == [path.startswith("/authorize") for path in paths]


H2 = {
    "two paths": [*over_h2("/authorize"), (":path", "/token")],
    "a path after the headers": [*over_h2("/authorize"), ("x", "y"), (":path", "/token")],
    "no path": over_h2("/")[:3],
    "an empty path": over_h2(""),
    "a path without a slash": over_h2("authorize"),
    "an absolute path": over_h2(f"https://{HOST}/token"),
    "a line end in the path": over_h2(f"/authorize HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET /token"),
    "a blank in the path": over_h2("/authorize /token"),
    "a line end in a header": [*over_h2("/authorize"), ("x", f"y\r\n\r\nGET /token HTTP/1.1\r\nHost: {HOST}\r\n\r\n")],
    "a line end in a header's name": [*over_h2("/authorize"), ("x\r\n\r\nget /token http/1.1\r\nx", "y")],
    "chunks": [*over_h2("/authorize", "POST"), ("transfer-encoding", "chunked")],
    "a connection header": [*over_h2("/authorize"), ("connection", "x-forwarded-for")],
    "a length that lies": [*over_h2("/authorize", "POST"), ("content-length", "9")],
    "an upper-case header": [*over_h2("/authorize"), ("X-Forwarded-For", VENDOR)],
    "another scheme": over_h2("/token", scheme="http"),
    "a scheme with a host": over_h2("/token", scheme=f"https://{HOST}/authorize?"),
    "a method with a path": over_h2("/token", "GET /authorize"),
    "an extended CONNECT": [(":method", "CONNECT"), (":protocol", "websocket"), *over_h2("/token")[1:]],
    "a CONNECT": [(":method", "CONNECT"), (":authority", "127.0.0.1:8088")],
    "a host beside the authority": [*over_h2("/token"), ("host", "other.example.org")],
}


@pytest.mark.parametrize("shape", H2)
def test_shaped_for_h2(client: Client, shape: str) -> None:
    before = len(client.backend.seen)
    answer = client.h2(STRANGER, H2[shape])[0]
    assert answer.status in (0, 200, 400, 403, 405, 421, 502), answer
    got = [(seen.target, seen.all("x-forwarded-for"), seen.body) for seen in client.backend.seen[before:]]
    assert [each for each in got if each != ("/authorize", [STRANGER], b"")] == []


@pytest.mark.parametrize("target", ["/", "/x?y=z", "//other.example.org/", "/authorize", "/@other.example.org/"])
def test_port_80_redirects(client: Client, target: str) -> None:
    for source in (STRANGER, OPERATOR):
        answer = client.ask(source, target, port=80)
        assert (answer.status, answer.headers["location"], answer.seen) == (308, f"https://{HOST}{target}", None)


@pytest.mark.parametrize("target", ["http:@other.example.org/", "*", "@other.example.org", f"http://{HOST}:81@other.example.org/", ".other.example.org/"])
def test_port_80_redirects_nowhere_else(client: Client, target: str) -> None:
    answer = client.ask(STRANGER, target, port=80)
    assert answer.headers.get("location", f"https://{HOST}/").startswith(f"https://{HOST}/")
    assert answer.seen is None


@pytest.mark.parametrize("name", ["other.example.org", "", "localhost"])
def test_port_80_knows_one_host(client: Client, name: str) -> None:
    assert_denied(client.ask(OPERATOR, "/", host=name, port=80), "host")
