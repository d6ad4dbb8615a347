"""How the gateway is spoken to: TLS, names, addresses, protocols, sizes, slow senders, streams."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import proxy
import pytest
from conftest import FULL, Host
from controller import wait
from wire import HOST, OPERATOR, STRANGER, VENDOR, Answer, Client, context, over_h2, parsed

CHECK, DENIED = "/usr/local/sbin/nous-vm check", "/usr/local/sbin/nous-vm gate denied"
RECORD, KEPT = "/var/log/nous-vm/denied.jsonl", "/root/denied.log"


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


@pytest.mark.parametrize("token", [[], ["Authorization: Bearer x"]])
def test_body_of_2_mb(client: Client, token: list[str]) -> None:
    before, body = len(client.backend.seen), b"x" * 2 * 2**20
    assert client.ask(OPERATOR, "/token", *token, method="POST", body=body).status in (413, 502, 0)
    assert client.ask(STRANGER, "/authorize", *token, method="POST", body=body).status in (405, 0)
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = "\r\n".join([f"POST /token HTTP/1.1\r\nHost: {HOST}", *token, "Transfer-Encoding: chunked", "Connection: close", "", ""])
    assert parsed(client.raw(OPERATOR, head.encode() + chunks * 32 + b"0\r\n\r\n")).status in (0, 413, 502)
    assert client.backend.seen[before:] == []


def test_body_of_1_mb(client: Client) -> None:
    answer = client.ask(OPERATOR, "/token", method="POST", body=b"x" * 1000000)
    assert answer.status == 200
    assert answer.seen
    assert len(answer.seen.body) == 1000000


@pytest.mark.parametrize("shape", ["one field", "200 fields", "2000 fields", "the target"])
@pytest.mark.parametrize("token", [[], ["Authorization: Bearer x"]])
def test_size_of_a_head(client: Client, shape: str, token: list[str]) -> None:
    """One limit, 12 kB, in whatever it is: what Caddy lets through is nothing that the local proxy would end."""

    def sent(size: int) -> Answer:
        if shape == "the target":
            return client.ask(OPERATOR, "/authorize?" + "x" * size, *token)
        fields = {"one field": 1, "200 fields": 200, "2000 fields": size // 6}[shape]
        return client.ask(OPERATOR, "/authorize", *["a:" + "x" * (size // fields - 4)] * fields, *token)

    assert sent(11_500).seen
    answer = sent(12_500)
    assert (answer.status in (414, 431), answer.seen) == (True, None), answer


def test_headers_of_24_kb_over_h2(client: Client) -> None:
    answer = client.h2(STRANGER, [*over_h2("/authorize"), ("x", "y" * 24000)])[0]
    assert answer.seen is None
    assert answer.status in (0, 431)


def slow(client: Client, first: bytes, drip: bytes, every: float) -> float:
    """Send something, then a little of it again and again; return when the gateway had enough."""
    with client.secure(OPERATOR) as connection:
        start = time.monotonic()
        connection.sendall(first)
        connection.settimeout(every)
        while time.monotonic() < start + 100:
            with contextlib.suppress(TimeoutError):
                connection.recv(65536)  # an answer, or the end
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
    "a body without end": (f"POST /token HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n".encode(), b"x", 15),
    "a body that is not wanted": (f"GET /authorize HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n".encode(), b"x", 5),
}
if FULL:
    SLOW["a body without end, with a token"] = (f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\n\r\n".encode(), b"", 45)


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


def test_the_sockets_of_the_server_are_for_caddy_alone(host: Host) -> None:
    """No local user asks the server past the gateway."""
    for path in (proxy.SOCKET, proxy.TOKENLESS):
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect('{path}')"
        for user, group, answer in (("nobody", "nogroup", "PermissionError"), ("caddy", "caddy", "")):
            output = host.sh(f'setpriv --reuid={user} --regid={group} --clear-groups python3 -c "{connect}" 2>&1 | tail -n 1')
            assert output.partition(":")[0] == answer, output


def test_secrets_are_not_written_down(host: Host, client: Client) -> None:
    """Neither in the access log, nor in the error log when the server is away."""
    query = "/authorize?code=SECRET-code&state=SECRET-state&code_challenge=SECRET-pkce"
    headers = ["Authorization: Bearer SECRET-token", "Cookie: SECRET-cookie", f"Referer: https://{HOST}{query}", "Mcp-Session-Id: SECRET-session"]
    host.sh(f"systemctl stop {proxy.UNITS}")
    try:
        for source in (VENDOR, STRANGER):
            answer = client.ask(source, query, *headers)
            assert (answer.status, answer.headers.get("server", ""), answer.headers["connection"]) == (502, "", "close")
        assert client.h2(STRANGER, over_h2(query))[0].status == 502
        assert client.ask(STRANGER, "/token?code=SECRET-code", *headers).denied == "address"
    finally:
        host.sh(f"systemctl start {proxy.UNITS}")
    client.ask(OPERATOR, query, *headers)
    client.ask(STRANGER, query, *headers)
    access, denied = host.sh("cat /var/log/caddy/access.log"), host.sh("cat /var/log/caddy/denied.log")
    journal = host.sh("journalctl --output=cat --unit=caddy.service --unit=nous-proxy.service")
    assert '"uri":"/authorize..."' in access
    assert '"msg":"address"' in denied and '"uri":"/token..."' in denied
    assert "/run/nous-proxy/tokenless.sock: connect: connection refused" in journal
    assert f"{STRANGER} 200 GET" in journal
    assert [line for line in (access + denied + journal).splitlines() if "SECRET" in line] == []


def test_whoever_is_denied_does_not_wear_out_the_log_of_who_was_let_in(host: Host, client: Client) -> None:
    """One denied address wrote 64 MB in 12 s, and the accepted requests with it were gone in two minutes. What is logged of it is short."""
    sizes = "stat --format %s /var/log/caddy/access.log /var/log/caddy/denied.log"
    before = [int(size) for size in host.sh(sizes).split()]
    client.ask(STRANGER, "/" + "x" * 9000)
    client.ask(STRANGER, "/" + "y" * 9000, host="z" * 2000)
    client.ask(STRANGER, "/authorize?" + "x" * 9000)
    client.ask(STRANGER, "/", port=80)
    after = [int(size) for size in host.sh(sizes).split()]
    assert after[0] == before[0]
    assert 400 < after[1] - before[1] < 2 * 900


def test_who_was_denied_is_one_command_away(host: Host, client: Client) -> None:
    client.ask(STRANGER, "/token-of-mine")
    output = host.sh(DENIED)
    line = re.compile(rf"^{re.escape(STRANGER)} +[0-9]+ times, last at [0-9-]+ [0-9:]+: GET nous\.example\.org/.*\(address\)$", re.MULTILINE)
    assert line.search(output), output
    denied = {each["address"]: each for each in json.loads(host.sh(f"{DENIED} --json"))["denied"]}
    assert denied[STRANGER]["last"]["reason"] == "address"


def test_who_was_denied_outlasts_the_log(host: Host, client: Client) -> None:
    """Of a flood the log is soon worn out; what was counted stays, and each request is counted once."""

    def times() -> int:
        return int(next(each["times"] for each in json.loads(host.sh(f"{DENIED} --hours 1 --json"))["denied"] if each["address"] == STRANGER))

    def counted() -> bool:
        lines = map(json.loads, host.sh(f"nous-vm gate count; cat {RECORD}").splitlines())
        return any(line["address"] == STRANGER and line["last"][3] == f"{HOST}{path}" for line in lines)

    client.ask(STRANGER, "/")
    before, path = times(), f"/{time.time()}"
    client.ask(STRANGER, path)
    assert times() == before + 1
    assert host.sh("systemctl is-active nous-gateway-denied.timer nous-gateway-repair.path") == "active\nactive"
    wait(counted, "the record to have it")
    host.sh(f"cd /var/log/caddy; cat denied.log > {KEPT}; : > denied.log")
    try:
        assert times() == before + 1
        assert host.sh(f"stat --format '%a %U' {RECORD}") == "640 root"
    finally:
        host.sh(f"cd /var/log/caddy; cat denied.log >> {KEPT}; cat {KEPT} > denied.log; rm {KEPT}")


def test_only_root_sees_who_was_denied(host: Host) -> None:
    output = host.sh(f"setpriv --reuid=nobody --regid=nogroup --clear-groups {DENIED} 2>&1 || echo exit code $?")
    assert output == "nous-vm gate denied: only root sees who was denied; run it with sudo\nexit code 2"


def test_what_a_stranger_writes_is_printed_as_printable_characters(host: Host, client: Client) -> None:
    """Caddy writes U+009B and U+202E into its log as they are, and a terminal obeys them."""
    hostile = "/\u009b31m\u202etxt"
    client.raw(STRANGER, f"GET {hostile} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    assert hostile in host.sh("cat /var/log/caddy/denied.log")
    for command in (DENIED, f"{DENIED} --json", CHECK):
        output = host.sh(command)
        assert [each for each in output.replace("\n", "") if not each.isprintable()] == []
    assert r"/\x9b31m\u202etxt (address)" in host.sh(DENIED)


def test_a_fifo_among_the_logs_hangs_nothing(host: Host) -> None:
    """A Caddy that was taken over may put one there; the check hung with no row."""
    host.sh("runuser -u caddy -- mkfifo /var/log/caddy/denied-0.log && runuser -u caddy -- ln -s /etc/shadow /var/log/caddy/denied-1.log")
    try:
        rows = {row["name"]: row for row in json.loads(host.sh(f"timeout 30 {CHECK} --json"))["rows"] if row["part"] == "gateway"}
        assert rows["denied in the last hour"]["status"] == "warn"
        assert "not all of the log can be read: " in rows["denied in the last hour"]["detail"]
        output = host.sh(f"timeout 30 {DENIED}")
        assert "not read: /var/log/caddy/denied-0.log is not a regular file" in output
        assert "/var/log/caddy/denied-1.log" in output and "root:" not in output
    finally:
        host.sh("rm /var/log/caddy/denied-0.log /var/log/caddy/denied-1.log")


def test_sandbox(host: Host) -> None:
    assert float(host.sh("systemd-analyze security --no-pager caddy.service | grep -oE 'level for caddy.service: [0-9.]+' | grep -oE '[0-9.]+$'")) <= 1.4
