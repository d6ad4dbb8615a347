"""How the gateway is spoken to: TLS, names, addresses, protocols, sizes, slow senders, streams."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import FULL, Host
from wire import HOST, OPERATOR, STRANGER, VENDOR, Client, context, over_h2, parsed

CHECK, DENIED = "/usr/local/sbin/nous-vm check", "/usr/local/sbin/nous-vm gate denied"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_version_of_tls(client: Client, version: ssl.TLSVersion) -> None:
    if version >= ssl.TLSVersion.TLSv1_2:
        with client.secure(VENDOR, tls=context(version=version)) as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
        return
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        client.secure(VENDOR, tls=context(version=version))


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "NULL"])
def test_old_suite(client: Client, suite: str) -> None:
    old = context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        old.set_ciphers(f"{suite}:@SECLEVEL=0")
    except ssl.SSLError:
        return  # not even this end speaks it
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        client.secure(VENDOR, tls=old)


@pytest.mark.parametrize("sni", ["other.example.org", f"x.{HOST}", "localhost", None])
def test_no_certificate_for_another_name(client: Client, sni: str | None) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        client.secure(VENDOR, sni)


def test_no_certificate_for_an_address(client: Client) -> None:
    """What a scanner sees that knows the address alone."""
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        client.secure(STRANGER, "127.0.0.1")


@pytest.mark.parametrize("offered", [["h3", "h2", "http/1.1"], ["h2"], ["http/1.1"], ["h3"], ["spdy/3.1"]])
def test_protocol(client: Client, offered: list[str]) -> None:
    spoken = next((each for each in offered if each in ("h2", "http/1.1")), None)
    if spoken is None:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            client.secure(VENDOR, tls=context(*offered))
        return
    with client.secure(VENDOR, tls=context(*offered)) as connection:
        assert connection.selected_alpn_protocol() == spoken


def test_udp_is_closed(host: Host) -> None:
    with host.network.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.connect(("127.0.0.1", 443))
    assert "443" not in host.sh("ss --no-header --udp --listening --numeric | awk '{print $4}' | sed 's/.*://'").split()
    with host.network.entered():
        quic = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with quic, pytest.raises(ConnectionRefusedError):
        quic.settimeout(5)
        quic.connect(("127.0.0.1", 443))
        quic.send(b"\xc0\x00\x00\x00\x01\x08" + bytes(1194))
        quic.recv(2048)


def test_alternative_services_are_not_offered(client: Client) -> None:
    assert "alt-svc" not in client.ask(VENDOR, "/").headers


def test_plain_http_on_the_port_of_tls(client: Client) -> None:
    with client.connect(VENDOR) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert parsed(connection.recv(65536)).status in (0, 400)


def test_h2_without_tls(client: Client) -> None:
    before = len(client.backend.seen)
    assert b"HTTP/1.1 200" not in client.raw(VENDOR, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), port=80)
    assert client.backend.seen[before:] == []


@pytest.mark.parametrize("path", ["/authorize", "/token"])
def test_body_of_2_mb(client: Client, path: str) -> None:
    for source in (OPERATOR, STRANGER):
        answer = client.ask(source, path, method="POST", body=b"x" * 2 * 2**20)
        assert answer.seen is None
        assert answer.status in ((413, 502, 0) if source == OPERATOR or path == "/authorize" else (403, 0)), answer


def test_body_of_2_mb_in_chunks(client: Client) -> None:
    before = len(client.backend.seen)
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    received = client.raw(
        STRANGER, f"POST /authorize HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + chunks * 32 + b"0\r\n\r\n"
    )
    assert parsed(received).status in (0, 413, 502)
    assert client.backend.seen[before:] == []


def test_body_of_1_mb(client: Client) -> None:
    answer = client.ask(OPERATOR, "/token", method="POST", body=b"x" * 1000000)
    assert answer.status == 200
    assert answer.seen
    assert len(answer.seen.body) == 1000000


@pytest.mark.parametrize("header", [f"X: {'x' * 24000}", "\r\n".join(f"X-{number}: {'x' * 100}" for number in range(250))])
def test_headers_of_24_kb(client: Client, header: str) -> None:
    for source in (VENDOR, STRANGER):
        answer = client.ask(source, "/authorize", header)
        assert (answer.status, answer.seen) == (431, None)


def test_target_of_24_kb(client: Client) -> None:
    answer = client.ask(STRANGER, f"/authorize?{'x' * 24000}")
    assert answer.status in (414, 431)
    assert answer.seen is None


def test_headers_of_24_kb_over_h2(client: Client) -> None:
    answer = client.h2(STRANGER, [*over_h2("/authorize"), ("x", "y" * 24000)])[0]
    assert answer.seen is None
    assert answer.status in (0, 431)


def slow(client: Client, first: bytes, drip: bytes, every: float) -> float:
    """Send something, then a little of it again and again; return when the gateway had enough."""
    with client.secure(STRANGER) as connection:
        start = time.monotonic()
        connection.sendall(first)
        connection.settimeout(every)
        while time.monotonic() < start + 100:
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    break
            try:
                connection.sendall(drip)
            except OSError:
                break
        return time.monotonic() - start


SLOW = {
    "nothing": (b"", b"", 15),
    "a head without end": (f"GET /authorize HTTP/1.1\r\nHost: {HOST}\r\n".encode(), b"X: y\r\n", 15),
    "a line without end": (b"GET /", b"a", 15),
    **({"a body without end": (f"POST /authorize HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n".encode(), b"x", 70)} if FULL else {}),
}


def test_slow_senders(client: Client) -> None:
    """All at once, because what is measured is time."""
    before = len(client.backend.seen)
    with ThreadPoolExecutor(len(SLOW)) as pool:
        took = dict(zip(SLOW, pool.map(lambda each: slow(client, each[0], each[1], 0.5), SLOW.values()), strict=True))
    assert {name: seconds for name, seconds in took.items() if seconds > SLOW[name][2]} == {}
    assert client.backend.seen[before:] == []


def test_half_a_handshake(client: Client) -> None:
    """It holds nobody up."""
    waiting = [client.connect(STRANGER) for _ in range(200)]
    try:
        for each in waiting[::2]:
            each.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert client.ask(OPERATOR, "/").status == 200
    finally:
        for each in waiting:
            each.close()


def test_stream(client: Client) -> None:
    """The first event comes before the second is sent."""
    client.backend.go_on.clear()
    with client.secure(VENDOR) as connection:
        connection.sendall(f"GET /stream HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        received = b""
        while b"first" not in received and (chunk := connection.recv(65536)):
            received += chunk
        assert b"first" in received
        assert b"second" not in received
        assert b"ontent-encoding" not in received.lower()
        client.backend.go_on.set()
        while b"second" not in received and (chunk := connection.recv(65536)):
            received += chunk
        assert b"second" in received


def test_admin_api(host: Host) -> None:
    """No port beside the gateway's two, and no way to the socket for who is not Caddy."""
    assert sorted(set(host.sh("ss -Hltnp | grep caddy | awk '{print $4}' | sed 's/.*://'").split())) == ["443", "80"]
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/caddy/admin.sock')"
    assert "PermissionError" in host.sh(f'setpriv --reuid=nobody --regid=nogroup --clear-groups python3 -c "{connect}" 2>&1 || true')


def test_secrets_are_not_written_down(host: Host, client: Client) -> None:
    """Neither in the access log, nor in the error log when the server is away."""
    query = "/authorize?code=SECRET-code&state=SECRET-state&code_challenge=SECRET-pkce"
    headers = ["Authorization: Bearer SECRET-token", "Cookie: SECRET-cookie", f"Referer: https://{HOST}{query}", "Mcp-Session-Id: SECRET-session"]
    client.backend.stop()
    try:
        assert [client.ask(source, query, *headers).status for source in (VENDOR, STRANGER)] == [502, 502]
        assert client.h2(STRANGER, over_h2(query))[0].status == 502
        assert client.ask(STRANGER, "/token?code=SECRET-code", *headers).denied == "address"
    finally:
        client.backend.start()
    access = host.sh("cat /var/log/caddy/access.log")
    journal = host.sh("journalctl --output=cat --unit=caddy.service")
    assert '"uri":"/token?..."' in access
    assert '"denied":"address"' in access
    assert "connection refused" in journal
    assert [line for line in (access + journal).splitlines() if "SECRET" in line] == []


def test_who_was_denied_is_one_command_away(host: Host, client: Client) -> None:
    client.ask(STRANGER, "/token-of-mine")
    output = host.sh(DENIED)
    line = re.compile(rf"^{re.escape(STRANGER)} +[0-9]+ times, last at [0-9-]+ [0-9:]+: GET nous\.example\.org/.*\(address\)$", re.MULTILINE)
    assert line.search(output), output
    denied = {each["address"]: each for each in json.loads(host.sh(f"{DENIED} --json"))["denied"]}
    assert denied[STRANGER]["last"]["reason"] == "address"


def test_only_root_sees_who_was_denied(host: Host) -> None:
    output = host.sh(f"setpriv --reuid=nobody --regid=nogroup --clear-groups {DENIED} 2>&1 || echo exit code $?")
    assert output == "nous-vm gate denied: only root sees who was denied; run it with sudo\nexit code 2"


def test_what_a_stranger_writes_is_printed_as_printable_characters(host: Host, client: Client) -> None:
    """Caddy writes U+009B and U+202E into its log as they are, and a terminal obeys them."""
    hostile = "/\u009b31m\u202etxt"
    client.raw(STRANGER, f"GET {hostile} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    assert hostile in host.sh("cat /var/log/caddy/access.log")
    for command in (DENIED, f"{DENIED} --json", CHECK):
        output = host.sh(command)
        assert [each for each in output.replace("\n", "") if not each.isprintable()] == []
    assert r"/\x9b31m\u202etxt (address)" in host.sh(DENIED)


def test_a_fifo_among_the_logs_hangs_nothing(host: Host) -> None:
    """A Caddy that was taken over may put one there; the check hung with no row."""
    host.sh("runuser -u caddy -- mkfifo /var/log/caddy/access-0.log && runuser -u caddy -- ln -s /etc/shadow /var/log/caddy/access-1.log")
    try:
        rows = {row["name"]: row for row in json.loads(host.sh(f"timeout 30 {CHECK} --json"))["rows"] if row["part"] == "gateway"}
        assert rows["denied in the last hour"]["status"] == "warn"
        assert "not all of the access log can be read: " in rows["denied in the last hour"]["detail"]
        output = host.sh(f"timeout 30 {DENIED}")
        assert "not read: /var/log/caddy/access-0.log is not a regular file" in output
        assert "/var/log/caddy/access-1.log" in output and "root:" not in output
    finally:
        host.sh("rm /var/log/caddy/access-0.log /var/log/caddy/access-1.log")


def test_sandbox(host: Host) -> None:
    assert float(host.sh("systemd-analyze security --no-pager caddy.service | grep -oE 'level for caddy.service: [0-9.]+' | grep -oE '[0-9.]+$'")) <= 1.4
