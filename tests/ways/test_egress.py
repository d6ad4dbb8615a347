"""The way out: what a client of the API gets through it, what nobody does, and which defence denies it when another one is taken out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alone import ALLOW, API, COLLECTOR, COLLECTOR_NAME, FULL, NAME, NEAR, OUTSIDE, PROXY, SOCKET, Host, only_full, only_on
from controller import wait

PROXIED = f"HTTPS_PROXY=http://127.0.0.1:3128 SSL_CERT_FILE={OUTSIDE}/ca.pem"
ASK = """
import socket, sys
def ask(content, more=b""):
    try:
        peer = socket.create_connection(("127.0.0.1", 3128), 20)
        peer.sendall(content)
        answer = peer.recv(9999)
        if more and answer.startswith(b"HTTP/1.1 200"):
            peer.sendall(more)
            answer = peer.recv(9999)
        return answer.decode("latin-1").strip().replace("\\r\\n", " ") or "ended"
    except OSError as error:
        return f"{type(error).__name__} {error}"
def connect(target):
    return f"CONNECT {target} HTTP/1.1\\r\\n\\r\\n".encode()
"""
CALL = """
import ssl, socket, sys
peer = socket.create_connection(("127.0.0.1", 3128), 20)
peer.sendall(b"CONNECT api.anthropic.com:443 HTTP/1.1\\r\\n\\r\\n")
assert peer.recv(99).startswith(b"HTTP/1.1 200"), "not connected"
context = ssl.create_default_context(cafile=sys.argv[1])
with context.wrap_socket(peer, server_hostname="api.anthropic.com") as tls:
    tls.sendall(b"POST /v1/messages HTTP/1.1\\r\\nHost: api.anthropic.com\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}")
    content = b""
    while block := tls.recv(9999):
        content += block
print(content.decode())
"""
# The vendor's exporter with one span, which prints what became of it.
EXPORT = f"""
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
provider.get_tracer("x").start_span("x").end()
exporter = OTLPSpanExporter(endpoint="https://{COLLECTOR_NAME}/v1/traces", certificate_file="{OUTSIDE}/ca.pem", timeout=5)
print(exporter.export(spans.get_finished_spans()).name)
"""
# What stands in the place of an address inside that a name was made to lead to: whoever connects is answered.
LISTENER = """
import socket
listening = socket.create_server(("", 443))
while True:
    peer, _address = listening.accept()
    open("/run/reached", "a").write("x")
    peer.close()
"""
# IPv6 is off in these containers: its forms are in the unit tests.
INSIDE = ["127.0.0.1", "10.98.0.1", "169.254.169.254", NEAR]
WITHOUT_CODE = """[Service]
ExecStart=
ExecStart=/usr/bin/python3 -I /usr/local/lib/nous-vm/without_code.py
"""
NO_CODE = """
import sys
sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.cli import main
from nous_vm.egress import policy, tunnel
policy.permitted = lambda found, about: list(found)
tunnel.CONNECT = 2
sys.exit(main(["egress", "serve"]))
"""
WITHOUT_KERNEL = "[Service]\nIPAddressDeny=\nIPAddressAllow=\n"


@pytest.fixture(scope="module")
def way(host: Host) -> Host:
    host.play(egress_proxy_allow=ALLOW, egress_proxy_connections=32, egress_proxy_megabytes=1)
    return host


@pytest.fixture
def inside(way: Host) -> Iterator[Host]:
    """The host with servers at addresses that no name may lead to."""
    for address in ("10.98.0.1/32", "169.254.169.254/32"):
        way.sh(f"ip address replace {address} dev lo")
    way.sh("systemctl stop reached 2>/dev/null || true; rm -f /run/reached")
    way.put("/run/listener.py", LISTENER)
    way.put("/usr/local/lib/nous-vm/without_code.py", NO_CODE)
    way.sh("systemd-run --quiet --collect --unit=reached python3 /run/listener.py")
    wait(lambda: "0.0.0.0:443" in way.sh("ss --listening --tcp --numeric --no-header"), "the servers inside")
    yield way
    way.names(API)
    configured(way)
    way.sh("rm /usr/local/lib/nous-vm/without_code.py; systemctl stop reached; ip address del 10.98.0.1/32 dev lo; ip address del 169.254.169.254/32 dev lo")


def configured(way: Host, *drop_ins: str) -> None:
    """Start the proxy anew with these drop-ins and no others."""
    way.sh(f"rm -rf /run/systemd/system/{PROXY}.d")
    for number, text in enumerate(drop_ins):
        way.put(f"/run/systemd/system/{PROXY}.d/{number}.conf", text)
    way.sh(f"systemctl daemon-reload; systemctl stop {PROXY}")


def ask(way: Host, target: str) -> str:
    return way.inside(f"{ASK}\nprint(ask(connect({target!r})))")


def outcomes(way: Host) -> dict[str, str]:
    """Return the first line of the answer for each address inside that the name is made to lead to."""
    found = {}
    for address in INSIDE:
        way.names(address)
        found[address] = ask(way, f"{NAME}:443")
    return found


def test_the_host_is_as_expected(way: Host) -> None:
    assert {name: row for name, row in way.rows("egress").items() if row[0] != "ok"} == {}
    assert way.rows("egress")["way out"] == ("ok", "127.0.0.1:3128 in the network of nous.service")


def test_a_call_of_the_api(way: Host) -> None:
    since = way.cursor()
    assert '"through"' in way.inside(CALL, f"{OUTSIDE}/ca.pem")
    (line,) = [each for each in wait(lambda: way.log(since), "the log") if NAME in each]
    assert line.startswith(f"{NAME}:443 done; ")


@only_on("debian-13", "the vendor's client is fetched")
def test_the_vendor_s_own_client(way: Host) -> None:
    """The SDK finds the proxy by HTTPS_PROXY, as the server's own does."""
    if way.platform != "debian-13":
        pytest.skip("debian-13 stands for it")
    way.sh("test -e /opt/sdk/bin/pip || python3 -m venv /opt/sdk; /opt/sdk/bin/pip install --quiet anthropic")
    program = 'import anthropic; made = anthropic.Anthropic(api_key="sk-ant-x", max_retries=0).messages\n'
    program += 'print(made.create(model="fake", max_tokens=9, messages=[{"role": "user", "content": "x"}]).content[0].text)'
    assert way.inside(program, python="/opt/sdk/bin/python", environment=PROXIED) == "through"
    without = way.inside(
        f"try:\n    {program.replace(chr(10), chr(10) + '    ')}\nexcept Exception as error: print(type(error).__name__)", python="/opt/sdk/bin/python"
    )
    assert without == "APIConnectionError", "there is no other way"


@only_full("the exporter is fetched")
def test_a_private_collector(way: Host) -> None:
    """OpenTelemetry's own exporter, to an address of the entry's network; not to another address, and not without the proxy."""
    way.sh("test -e /opt/otel/bin/pip || python3 -m venv /opt/otel; /opt/otel/bin/pip install --quiet opentelemetry-exporter-otlp-proto-http")
    proxied = PROXIED.partition(" ")[0]
    assert way.inside(EXPORT, python="/opt/otel/bin/python", environment=proxied).endswith("SUCCESS")
    assert way.inside(EXPORT, python="/opt/otel/bin/python").endswith("FAILURE"), "there is no other way"
    way.sh(f"sed 's/^{COLLECTOR} {COLLECTOR_NAME}/{API} {COLLECTOR_NAME}/' /etc/hosts > /run/hosts; cp /etc/hosts /run/whole; cat /run/hosts > /etc/hosts")
    assert "denied (address)" in ask(way, f"{COLLECTOR_NAME}:443")
    way.sh("cat /run/whole > /etc/hosts")


def test_what_is_denied(way: Host) -> None:
    """A few of each class; the others are in the unit tests of the parser, the policy and the tunnel."""
    cases = {
        "name": 'connect("evil.example.org:443")',
        "port": 'connect("api.anthropic.com:22")',
        "literal": f'connect("{API}:443")',
        "userinfo": 'connect("api.anthropic.com@evil.example.org:443")',
        "method": 'b"GET http://api.anthropic.com/ HTTP/1.1\\r\\n\\r\\n"',
        "pipelining": 'connect("api.anthropic.com:443") * 2',
        "size": 'b"CONNECT api.anthropic.com:443 HTTP/1.1\\r\\nX: " + b"y" * 8300',
    }
    program = ASK + "".join(f"print(ask({content}))\n" for content in cases.values())
    assert [line.partition("denied (")[2].partition(")")[0] for line in way.inside(program).splitlines()] == list(cases)
    assert way.inside(f'{ASK}\nprint(ask(connect("{NAME}:443"), b"SSH-2.0-x\\r\\n"))') == "ended"


def test_a_thousand_idle_connections(way: Host) -> None:
    """They take what room there is, and leave it when their time for a request is over; the proxy is as it was."""
    program = """
import socket
crowd = [socket.create_connection(("127.0.0.1", 3128), 60) for _each in range(1000)]
print(sum(b"503" in each.recv(99) for each in crowd[500:]))
ended = sum(each.recv(9999) != b"x" for each in crowd[:500])
print(ended)
"""
    assert way.inside(program).split() == ["500", "500"]
    assert '"through"' in way.inside(CALL, f"{OUTSIDE}/ca.pem")
    assert way.sh(f"systemctl show --value --property=NRestarts {PROXY}") == "0"


def test_more_than_it_may_carry(way: Host) -> None:
    since = way.cursor()
    program = CALL.replace("Content-Length: 2", "Content-Length: 10000000000").replace("{}", "").partition("    content = ")[0]
    program += "    try:\n        for _each in range(9999): tls.sendall(bytes(65536))\n    except OSError: print('ended')\n"
    assert way.inside(program.replace("as tls:", "as tls:", 1), f"{OUTSIDE}/ca.pem") == "ended"
    assert "denied (bytes)" in " ".join(wait(lambda: [each for each in way.log(since) if "bytes out" in each], "the log"))


def test_names_that_lead_inside(inside: Host) -> None:
    """Both defences; then the kernel alone; then the code alone; then neither, which shows that the others were what denied it."""
    assert {each.partition("denied (")[2].partition(")")[0] for each in outcomes(inside).values()} == {"address"}
    configured(inside, WITHOUT_CODE)
    kernel = outcomes(inside)
    assert {address for address, answer in kernel.items() if "denied (connect)" in answer} == {*INSIDE} - {NEAR}
    # The host's own public address is one like others to the kernel.
    assert {address for address, answer in kernel.items() if "200 Connection" in answer} == {NEAR}
    configured(inside, WITHOUT_KERNEL)
    assert {each.partition("denied (")[2].partition(")")[0] for each in outcomes(inside).values()} == {"address"}
    assert inside.sh("cat /run/reached") == "x", "NEAR"
    configured(inside, WITHOUT_CODE, WITHOUT_KERNEL)
    assert {address for address, answer in outcomes(inside).items() if "200 Connection" in answer} == set(INSIDE)


def test_nobody_else_can_use_it(way: Host) -> None:
    """Not who is in the host's network, nor who is in another one; and in the unit's own there is nothing but the proxy."""
    connect = "import socket\ntry:\n    socket.create_connection({}, 3)\n    print('reached')\nexcept OSError as error: print(error.strerror)"
    way.put("/run/connect.py", connect.format('("127.0.0.1", 3128)'))
    assert way.sh("setpriv --reuid=ops --regid=ops --clear-groups python3 /run/connect.py") == "Connection refused"
    assert way.sh("systemd-run --quiet --pipe --wait --property=PrivateNetwork=yes python3 /run/connect.py") == "Connection refused"
    for address in (f'("{API}", 443)', f'("{NEAR}", 22)', '("1.1.1.1", 53)', '("169.254.169.254", 80)'):
        assert way.inside(connect.format(address)) == "Network is unreachable"


def test_what_the_proxy_itself_can_do(way: Host) -> None:
    """A proxy that was taken over has the host's network, but not its addresses, its files or its sockets."""
    program = """
import os, socket, sys
def attempt(what):
    try:
        what()
        return "done"
    except OSError as error:
        return error.strerror
print(attempt(lambda: socket.create_server(("", 4444))))
print(attempt(lambda: socket.socket(socket.AF_UNIX)))
print(attempt(lambda: socket.socket(socket.AF_NETLINK)))
print(attempt(lambda: os.listdir("/var/lib")))
print(attempt(lambda: os.listdir("/etc/nous")))
print(attempt(lambda: open("/usr/x", "w")))
print(attempt(lambda: open("/etc/shadow")))
sys.exit(0)
"""
    configured(way, "[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I /usr/local/lib/nous-vm/attempts.py\nType=oneshot\nRestart=no\n")
    way.put("/usr/local/lib/nous-vm/attempts.py", program)
    way.sh("mkdir -p /etc/nous")
    since = way.cursor()
    way.sh(f"systemctl start {PROXY}")
    found = wait(lambda: [each for each in way.log(since) if each], "its attempts")
    way.sh("rm /usr/local/lib/nous-vm/attempts.py")
    configured(way)
    assert "done" not in found
    assert len(found) == 7, found


def test_what_left_the_host(way: Host) -> None:
    """After all of these: one address, one port, and where the collector was tried that one's."""
    way.inside(CALL, f"{OUTSIDE}/ca.pem")
    assert way.packets() == {f"6 {API}:443", *([f"6 {COLLECTOR}:443"] if FULL else [])}


def test_uninstall(way: Host) -> None:
    way.play(egress_proxy_allow=[])
    left = "find /etc /usr/local /run/systemd/system -name '*egress*'"
    assert way.sh(left) == ""
    assert way.sh(f"systemctl is-active {SOCKET} {PROXY} || true").split() == ["inactive", "inactive"]
    assert "changed=0" in way.play(egress_proxy_allow=[])
