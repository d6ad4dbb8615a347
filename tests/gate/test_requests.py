"""What is asked, by whom, what is answered, and whether the server sees it."""

from __future__ import annotations

import socket

import proxy
import pytest
from conftest import Host
from wire import HOST, OPERATOR, OPERATOR_6, PUBLIC, STRANGER, STRANGER_6, TIMEOUT, VENDOR, Answer, Client, over_h2, parsed

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
ADDRESSES = """
    X-Forwarded-For X-Real-IP True-Client-IP CF-Connecting-IP X-Client-IP X-Cluster-Client-IP Fastly-Client-IP X-Original-Forwarded-For X-Forwarded
    X_Forwarded_For Client-IP X-Originating-IP X-Remote-IP X-Remote-Addr True-Client CDN-Loop X-Azure-ClientIP X-ProxyUser-Ip Via X-Forwarded-By
    X-Envoy-External-Address Proxy X-Forwarded-Host X-Host X-Forwarded-Server X-HTTP-Host-Override X-Original-Host X-Original-URL X-Rewrite-URL
    X-Override-URL X-Forwarded-Path X-Forwarded-Prefix X-Script-Name X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Forwarded-Proto
    X-Forwarded-Scheme X-Forwarded-Port X-Forwarded-Client-Cert X-SSL-Client-Verify X-User X-Remote-User X-Authenticated-User Remote-User X-Auth-Token
    Proxy-Authorization Forwarded
""".split()
FORGED = [
    *(f"{name}: {VENDOR}" for name in ADDRESSES),
    *(f"Forwarded: for={VENDOR}", f"X-Forwarded-For: {VENDOR}, {STRANGER}", f"X-Forwarded-For:\t{VENDOR}", "X-Forwarded-Host: localhost"),
]
HOSTS = ["other.example.org", f"{HOST}.", "localhost", "127.0.0.1", "[::1]", f"{HOST}.example.org", f"x.{HOST}", "", "*", f"{HOST}@other.example.org"]
HOSTS += [
    f"{HOST}:8443",
    f"{HOST}:80",
    f"[{HOST}]",
    f"[{HOST}]:443",
    f"{HOST}:",
    f"{HOST}:*",
    f"{HOST}:443/token?",
    f"{HOST}:443:443",
    f"{HOST}/",
    f"{HOST}\x00",
]
# What the gateway adds, beside what a client sent that may pass.
GATEWAY = {"host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "accept-encoding", "connection"}


def assert_denied(answer: Answer, reason: str = "address") -> None:
    """By the gateway, with its reason, or by Caddy itself, because it is no HTTP; a CONNECT and `*` are answered by Go alone."""
    status = {"address": 403, "host": 421, "path": 400, "upgrade": 400, "body": 400, "method": 405}[reason]
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


def test_forged(client: Client) -> None:
    """The server hears of one address, one name and no other header than those that are listed, whatever is sent, and by whomever."""
    assert_denied(client.ask(STRANGER, "/", *FORGED))
    for source, target in ((OPERATOR, "/"), (OPERATOR, "/authorize"), (STRANGER, "/authorize")):
        for token in ([], ["Authorization: Bearer x"]):
            seen = client.ask(source, target, *FORGED, *token).seen
            assert seen
            assert (seen.all("x-forwarded-for"), seen.all("x-forwarded-host"), seen.all("x-forwarded-proto"), seen.all("host")) == (
                [source],
                [HOST],
                ["https"],
                [HOST],
            )
            sent = {"mcp-param-number", "authorization"} & {name.lower() for name, _value in seen.headers}
            assert {name.lower() for name, _value in seen.headers} == GATEWAY | sent, seen.headers
            assert [item for item in seen.headers if VENDOR in item[1]] == []


@pytest.mark.parametrize("name", ["Connection: X-Forwarded-For", "Connection: close, X-Forwarded-For", "Connection: Host"])
def test_hop_by_hop(client: Client, name: str) -> None:
    """A client cannot have the peer's address taken out on the way."""
    seen = client.ask(STRANGER, "/authorize", name, f"X-Forwarded-For: {VENDOR}").seen
    assert seen
    assert seen.all("x-forwarded-for") == [STRANGER]
    assert seen.all("host") == [HOST]


def test_protocol_headers_pass(client: Client) -> None:
    names = ["Mcp-Session-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-X", "Mcp-Param-y.z", "Last-Event-ID", "Authorization", "Accept"]
    names += ["Origin", "Content-Type", "User-Agent", "Traceparent", "Cookie", "DPoP", "Access-Control-Request-Headers", "If-None-Match", "Sec-Fetch-Site"]
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
    """What is hidden behind a request never becomes one of its own; what is within a body stays there, and nothing public has one."""
    for source, path, token in ((STRANGER, "/authorize", ""), (OPERATOR, "/token", ""), (OPERATOR, "/", "Authorization: Bearer x\r\n")):
        before = len(client.backend.seen)
        received = client.raw(source, f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{token}{SMUGGLED[shape]}".encode("latin-1"))
        assert parsed(received).status in (0, 100, 200, 400, 403, 405, 408, 417, 501, 502), received
        seen = client.backend.seen[before:]
        assert len(seen) <= 1
        assert [each for each in seen if (each.target, each.all("x-forwarded-for")) != (path, [source]) or (source == STRANGER and each.body)] == []


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
    """Every request of a connection is judged by itself, whatever the one before was; what is denied is the last of its connection."""
    before = len(client.backend.seen)
    targets = [first, "/authorize?x", "/token", "/authorize", "/register"]
    received = client.raw(STRANGER, "".join(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for target in targets).encode())
    statuses = [int(part[:3]) for part in received.decode().split("HTTP/1.1 ")[1:]]
    assert statuses == ([200, 200, 403] if first == "/authorize" else [403])
    assert [seen.target for seen in client.backend.seen[before:]] == targets[: len(statuses) - 1]


def test_multiplexed(client: Client) -> None:
    """So too over HTTP/2, where those that are under way are answered before the connection goes."""
    paths = ["/authorize", "/token", "/authorize?x", "/", "/%61uthorize"] * 4
    answers = client.h2(STRANGER, *map(over_h2, paths))
    assert {(answer.status, answer.seen is not None) for answer, path in zip(answers, paths, strict=True) if path.startswith("/authorize")} <= {
        (200, True),
        (0, False),
    }
    assert {(answer.status, answer.seen is not None) for answer, path in zip(answers, paths, strict=True) if not path.startswith("/authorize")} <= {
        (403, False),
        (0, False),
    }
    assert answers[0].seen


@pytest.mark.parametrize("source", [STRANGER, OPERATOR])
def test_a_denied_connection_is_closed(client: Client, source: str) -> None:
    """It waited for two minutes for another request, and took its place that long."""
    host = HOST if source == STRANGER else "other.example.org"
    with client.secure(source) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert parsed(received).status == (403 if source == STRANGER else 421)


UPGRADES = ["websocket", "h2c", "HTTP/2.0", "TLS/1.0", "foo"]


@pytest.mark.parametrize("protocol", UPGRADES)
def test_nothing_is_upgraded(client: Client, protocol: str) -> None:
    """The server saw a plain GET of it."""
    for source, target in ((STRANGER, "/authorize"), (OPERATOR, "/")):
        answer = client.ask(source, target, f"Upgrade: {protocol}", "Connection: Upgrade")
        assert (answer.status, answer.denied, answer.seen) == (400, "upgrade", None)


def test_a_public_request_has_no_body(client: Client) -> None:
    """Nor a method that could have one; over HTTP/2, where nothing announces it, the local proxy denies it without waiting for it."""
    for method, header, reason in (("GET", "Content-Length: 1", "body"), ("GET", "Transfer-Encoding: chunked", "body"), ("POST", "X: y", "method")):
        assert_denied(client.ask(STRANGER, "/authorize", header, method=method), reason)
    [answer] = client.h2(STRANGER, over_h2("/authorize"), body=b"x")
    assert (answer.status, answer.seen) == (400, None)


def test_what_is_answered_about_the_whole_server(client: Client) -> None:
    """Go itself answers OPTIONS * before Caddy sees it, on both versions, and Caddy has no setting for that: this is all that it says, to whomever."""
    for source in (STRANGER, OPERATOR):
        for port in (443, 80):
            for given in ({}, {"host": "other.example.org"}, {"body": b"x" * 100}):
                answer = client.ask(source, "*", method="OPTIONS", port=port, **given)
                assert (answer.seen, answer.status, answer.rest) == (None, 200, b"")
                assert (set(answer.headers), answer.headers["content-length"]) == ({"content-length", "date", "connection"}, "0")
        answer = client.h2(source, over_h2("*", "OPTIONS"))[0]
        assert (answer.seen, answer.status, set(answer.headers)) == (None, 200, {":status", "content-length", "date"})


@pytest.mark.parametrize("first", ["OPTIONS *", f"GET https://{HOST}/", "GET http://127.0.0.1:8088/token", f"CONNECT {HOST}:443", "GET *"])
def test_the_local_proxy_takes_paths_alone(host: Host, first: str) -> None:
    """Whoever asks it: nothing that has none reaches the server, should a gateway hand it on."""
    before = len(host.backend.seen)
    for path in (proxy.SOCKET, proxy.TOKENLESS):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(f"/proc/{host.pid}/root{path}")
            connection.sendall(f"{first} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {OPERATOR}\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert host.backend.seen[before:] == []


@pytest.mark.parametrize(("source", "target"), [(OPERATOR, "/"), (STRANGER, "/authorize"), (STRANGER, "/"), (OPERATOR, "/none")])
def test_headers_of_every_answer(client: Client, source: str, target: str) -> None:
    """Two programs named themselves, and nothing told a browser to come back over TLS or not to guess."""
    received = client.raw(source, f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    names = [line.partition(b":")[0].lower() for line in received.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    assert (names.count(b"server"), names.count(b"via"), names.count(b"strict-transport-security"), names.count(b"x-content-type-options")) == (0, 0, 1, 1)


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
