"""A server that says what it saw, and the requests that show who reaches it. Both run on the host that is tested.

gate.py serve             answer on 127.0.0.1:8088 and note every request
gate.py ask               send all requests through the gate; exit 1 if one is not answered as it should be
gate.py secrets           send secrets with the server away and look for them in all that Caddy wrote

Every request carries a number of its own, by which it is looked up in what the server noted.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HOST = "nous.example.org"
VENDOR, OPERATOR, STRANGER = "160.79.104.9", "203.0.113.7", "203.0.113.5"
PUBLIC = ["/authorize", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"]
SPELLINGS = """
    /AUTHORIZE /Authorize //authorize ///authorize /./authorize /x/../authorize /token/../authorize /authorize/../token /authorize/ /authorize//
    /authorize. /authorize%20 /authorize%00 /authorize%09 /authorize%3f /authorize%3F/../token /authorize%23 /authorize%2f /authorize%2f..%2ftoken
    /authorize;x /authorize;/../token /authorize/.. /authorize/%2e%2e/token /%61uthorize /%2561uthorize /authorize%c0%af /authorize\\ /\\authorize
    /authorize/token /authorizex /authorize* /* /.well-known/ /.well-known/oauth-authorization-server/mcp /.well-known/openid-configuration
    /.well-known//oauth-authorization-server /.WELL-KNOWN/oauth-authorization-server /.well-known/oauth-authorization-server/../../token
    / /token /register /revoke /mcp ?/authorize /?/authorize /#/authorize /x?/../authorize
"""
SEEN = Path("/run/gate-server/seen.jsonl")
NUMBERS = itertools.count(time.time_ns())
TIMEOUT = 10


class Server(http.server.BaseHTTPRequestHandler):
    """Notes what it sees; asks for a token as the real one does, except where OAuth is public."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return  # cut on the way: nothing that a server acts on
        with SEEN.open("a", encoding="utf-8") as seen:
            seen.write(json.dumps({"line": self.requestline, "headers": self.headers.items(), "body": len(body)}) + "\n")
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for word in (b"first", b"second"):
                self.wfile.write(b"data: %b\n\n" % word)
                self.wfile.flush()
                time.sleep(2)
            self.close_connection = True
            return
        self.send_response(200 if self.path.split("?")[0] in PUBLIC else 401)
        self.send_header("Location", "https://client.example.org/?code=SECRET-location")
        self.send_header("Set-Cookie", "SECRET-cookie")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_HEAD = do_PATCH = answer

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    seen: dict[str, Any] | None  # what the server noted of this very request


def noted(number: int) -> dict[str, Any] | None:
    """Return what the server saw of a request."""
    for line in SEEN.read_text(encoding="utf-8").splitlines() if SEEN.exists() else ():
        seen: dict[str, Any] = json.loads(line)
        if ["X-Number", str(number)] in seen["headers"]:
            return seen
    return None


def context(**options: object) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    for name, value in options.items():
        setattr(made, name, value)
    return made


def connect(source: str, port: int = 443) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT, source_address=(source, 0))


def secure(source: str, sni: str | None = HOST, tls: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    return (tls or context()).wrap_socket(connect(source), server_hostname=sni)


def ask(
    source: str,
    target: str,
    *headers: str,
    method: str = "GET",
    host: str | None = HOST,
    body: bytes = b"",
    version: str = "1.1",
    port: int = 443,
) -> Answer:
    """Send a request as it is written, byte for byte."""
    number = next(NUMBERS)
    lines = [f"{method} {target} HTTP/{version}", f"X-Number: {number}", "Connection: close", *headers]
    lines += [f"Host: {host}"] if host is not None else []
    lines += [f"Content-Length: {len(body)}"] if body else []
    with connect(source, port) if port == 80 else secure(source) as connection:
        received = b""
        with contextlib.suppress(OSError):  # it was answered before all was sent
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        with contextlib.suppress(OSError):  # what was answered before the connection was cut counts
            while chunk := connection.recv(65536):
                received += chunk
    head, *rest = received.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    found = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return Answer(int(head.split()[1]) if head else 0, found, noted(number))


class Report:
    """Counts what was as it should be and says what was not."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[str] = []

    def expect(self, what: str, holds: bool, got: object) -> None:
        if holds:
            self.right += 1
        else:
            self.wrong.append(f"{what}: {got}")

    def reaches(self, what: str, answer: Answer) -> None:
        self.expect(f"{what} reaches the server", answer.seen is not None and "x-gate-refused" not in answer.headers, answer)

    def refused(self, what: str, answer: Answer, status: int = 403, reason: str = "address") -> None:
        """A request that is no HTTP is refused with 400, by Caddy itself."""
        said = answer.headers.get("x-gate-refused")
        self.expect(f"{what} is refused", answer.seen is None and ((answer.status, said) == (status, reason) or answer.status == 400), answer)

    def end(self) -> int:
        print("\n".join([*self.wrong, f"{self.right} as it should be, {len(self.wrong)} not"]))
        return 1 if self.wrong or not self.right else 0


def addresses(report: Report) -> None:
    for name, source in (("the vendor", VENDOR), ("the operator", OPERATOR)):
        report.reaches(name, ask(source, "/"))
        report.reaches(f"{name}, by POST", ask(source, "/token", method="POST", body=b"x" * 1000))
        report.reaches(f"{name}, in another spelling", ask(source, "/x/../authorize"))
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"):
        report.refused(f"a stranger, by {method}", ask(STRANGER, "/", method=method))
    report.refused("this host itself", ask("127.0.0.1", "/"))
    report.refused("a stranger, by HTTP/1.0", ask(STRANGER, "/", version="1.0"))
    for path in PUBLIC:
        for target in (path, f"{path}?", f"{path}?client_id=x&redirect_uri=https%3A%2F%2Fclient.example.org%2F", f"https://{HOST}{path}"):
            report.reaches(f"a stranger at {target}", ask(STRANGER, target))
    for target in SPELLINGS.split():
        report.refused(f"a stranger at {target}", ask(STRANGER, target))
        report.refused(f"a stranger at https://{HOST}{target}", ask(STRANGER, f"https://{HOST}{target}"))


def headers(report: Report) -> None:
    names = ["X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Server", "X-Real-IP", "True-Client-IP", "X-Client-IP", "CF-Connecting-IP"]
    forged = [f"{name}: {VENDOR}" for name in names] + [f"Forwarded: for={VENDOR}"]
    report.refused("a stranger who says that he is the vendor", ask(STRANGER, "/", *forged))
    seen = ask(OPERATOR, "/", *forged, "Mcp-Session-Id: 1", "MCP-Protocol-Version: 2025-06-18", "Mcp-Param-X: 1").seen or {"headers": []}
    said = {name.lower(): value for name, value in seen["headers"]}
    report.expect("the server sees the peer's address", said.get("x-forwarded-for") == OPERATOR, said)
    report.expect("the server sees no other address", VENDOR not in json.dumps(said), said)
    report.expect("the protocol's headers pass", {"mcp-session-id", "mcp-protocol-version", "mcp-param-x"} <= said.keys(), said)


def hosts(report: Report) -> None:
    for host in ("other.example.org", f"{HOST}.", "localhost", "127.0.0.1", f"{HOST}.example.org", ""):
        report.refused(f"the host {host!r}", ask(VENDOR, "/", host=host), 421, "host")
        report.refused(f"the host {host!r} on a public path", ask(VENDOR, "/authorize", host=host), 421, "host")
    report.refused("no host", ask(VENDOR, "/", host=None, version="1.0"), 421, "host")
    report.refused("another host in the target", ask(VENDOR, "https://other.example.org/"), 421, "host")
    for sni in ("other.example.org", None):
        try:
            secure(VENDOR, sni=sni).close()
            report.expect(f"no certificate for {sni}", False, "the handshake was done")
        except ssl.SSLError as error:
            report.expect(f"no certificate for {sni}", "ALERT" in str(error).upper(), error)


def limits(report: Report) -> None:
    report.expect("headers of 20 kB are refused", (answer := ask(VENDOR, "/", f"X-Long: {'x' * 20480}")).status == 431, answer)
    for path in ("/authorize", "/token"):
        answer = ask(OPERATOR, path, method="POST", body=b"x" * 2 * 2**20)
        report.expect(f"2 MB to {path} are refused", answer.status in (413, 502) and answer.seen is None, answer)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = context(minimum_version=version, maximum_version=version)
        old.set_ciphers("ALL:@SECLEVEL=0")
        try:
            secure(VENDOR, tls=old).close()
            report.expect(f"{version.name} is refused", False, "the handshake was done")
        except ssl.SSLError as error:
            report.expect(f"{version.name} is refused", "PROTOCOL_VERSION" in str(error), error)
    modern = context()
    modern.set_alpn_protocols(["h3", "h2", "http/1.1"])
    with secure(VENDOR, tls=modern) as connection:
        report.expect("HTTP/2 is spoken", connection.selected_alpn_protocol() == "h2", connection.selected_alpn_protocol())
    ports = {line.split()[1].rsplit(":")[-1] for table in Path("/proc/net").glob("udp*") for line in table.read_text().splitlines()[1:]}
    report.expect("UDP port 443 is closed", f"{443:04X}" not in ports, ports)


def plain(report: Report) -> None:
    for target in ("/", "/x?y=z", "//evil.example.org/"):
        answer = ask(STRANGER, target, port=80)
        report.expect(f"{target} is sent to TLS", answer.status == 308 and answer.headers.get("location") == f"https://{HOST}{target}", answer)
    for target in ("http:@evil.example.org/", "*"):
        answer = ask(STRANGER, target, method="OPTIONS", port=80)
        report.expect(f"{target} is not", "location" not in answer.headers and answer.status in (200, 400), answer)
    report.refused("another host on port 80", ask(VENDOR, "/", host="other.example.org", port=80), 421, "host")


def stream(report: Report) -> None:
    with secure(VENDOR) as connection:
        connection.sendall(f"GET /stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        received, sent = b"", time.monotonic()
        while b"first" not in received and (chunk := connection.recv(65536)):
            received += chunk
        took = time.monotonic() - sent
    report.expect("the first event comes before the second is sent", b"second" not in received and took < 1.5, (took, received))


def secrets(report: Report) -> None:
    """The server is away, so that Caddy writes to both logs."""
    query = "/authorize?code=SECRET-code&state=SECRET-state&code_challenge=SECRET-pkce"
    for source in (VENDOR, STRANGER):
        answer = ask(source, query, "Authorization: Bearer SECRET-token", "Cookie: SECRET-biscuit", f"Referer: https://{HOST}{query}")
        report.expect(f"{source} hears that the server is away", answer.status == 502, answer)
    ask(STRANGER, "/token?code=SECRET-code", "Mcp-Session-Id: SECRET-session")
    access = "".join(path.read_text(encoding="utf-8") for path in Path("/var/log/caddy").iterdir())
    journal = subprocess.run(["journalctl", "--output=cat", "--unit=caddy.service"], capture_output=True, text=True, check=True).stdout
    report.expect("the error is in the journal", "connection refused" in journal and '"uri":"/authorize?..."' in journal, journal[-2000:])
    report.expect("the refusal is in the access log", '"uri":"/token?..."' in access and '"refused":"address"' in access, access[-2000:])
    found = [line for line in (access + journal).splitlines() if "SECRET" in line]
    report.expect("no secret is in either", not found, found[:3])


def main() -> int:
    report = Report()
    if sys.argv[1] == "serve":
        http.server.ThreadingHTTPServer(("127.0.0.1", 8088), Server).serve_forever()
    for part in [secrets] if sys.argv[1] == "secrets" else [addresses, headers, hosts, limits, plain, stream]:
        part(report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
