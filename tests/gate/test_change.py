"""A change of the gateway: under load, rejected, rolled back, and interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from conftest import FULL, GATE, PLAYBOOK, REPOSITORY, Host, only_full, only_on
from wire import HOST, OPERATOR, STRANGER, context

RELOADS = 50 if FULL else 8
UNREACHABLE = {"caddy_gateway_tls": "acme", "caddy_gateway_acme_ca": "https://127.0.0.1:1/directory", "caddy_gateway_hostname": "other.example.org"}


def caddy(host: Host) -> dict[str, str]:
    """Return what the gateway is made of, and the process that serves it."""
    names = ("/etc/caddy/Caddyfile", "/etc/systemd/system/caddy.service.d/caddy-gateway.conf", "/etc/nous-vm/gateway.json")
    return {name: host.sh(f"cat {name}") for name in names} | {"pid": host.sh("systemctl show --value --property=MainPID caddy.service")}


def serves(host: Host) -> None:
    assert host.client.ask(OPERATOR, "/").status == 200
    assert host.client.ask(STRANGER, "/").denied == "address"


def quick(host: Host) -> None:
    """Wait until the gateway answers as it does on any other day: what has waited for a reload comes all at once."""
    end, took = time.monotonic() + 60, 1.0
    while took > 0.2 and time.monotonic() < end:
        start = time.monotonic()
        assert host.client.ask(OPERATOR, "/").status == 200
        took = time.monotonic() - start


def test_reloads_under_load(host: Host) -> None:
    """200 requests a second and streams shorter than the grace period; every one is answered to its end, none goes to the server twice, and nothing stays."""
    pid = caddy(host)["pid"]

    def descriptors() -> int:
        return int(host.sh(f"ls /proc/{pid}/fd | wc -l"))

    before = descriptors()
    with host.network.entered():
        load = subprocess.Popen([sys.executable, Path(__file__).with_name("load.py"), OPERATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(RELOADS):
            host.sh("systemctl reload caddy.service")
            quick(host)
        found = json.loads(load.communicate()[0])
    finally:
        load.kill()  # whatever failed here must not fail the tests after it
        load.wait()
    assert found["failed"] == [], found
    assert found["cut"] == [], found
    assert found["sent"] > RELOADS * 20
    assert found["streams"] > 10
    served = Counter(int(number) for seen in list(host.backend.seen) for number in seen.all("mcp-param-load"))
    # A kept connection that closes just when a request comes may have been read (RFC 9112 9.5): a client that sends it again doubles it.
    assert {number for number, times in served.items() if times > 1} <= set(found["again"])
    assert len(served) == found["sent"]

    assert caddy(host)["pid"] == pid
    end = time.monotonic() + 60
    while descriptors() > before + 5 and time.monotonic() < end:
        time.sleep(0.5)
    assert descriptors() <= before + 5


def test_a_reload_waits_for_a_first_request_and_new_connections_wait_for_it(host: Host) -> None:
    """One has shaken hands and asks when the reload has begun, the other comes in the midst of it. Without this Caddy 2.11 closes the first."""
    before = len(host.backend.seen)
    request = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc".encode()
    with host.client.secure(OPERATOR) as first:
        reload = subprocess.Popen(["docker", "exec", host.container, "systemctl", "reload", "caddy.service"])
        host.sh("until [ $(ss -Hltn 'sport = 443' | wc -l) = 2 ]; do :; done")
        begun = time.monotonic()
        second = host.client.connect(OPERATOR)
        first.sendall(request)
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
        with context().wrap_socket(second, server_hostname=HOST) as connection:
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert reload.wait() == 0
        assert 0.5 < time.monotonic() - begun < 15
    assert len(host.backend.seen) == before + 2
    assert host.sh("ss -Hltn 'sport = 443' | wc -l") == "1"


@only_on("debian-13", "another run of the role")
def test_what_caddy_does_not_understand_changes_nothing(host: Host) -> None:
    before = caddy(host)
    run = host.play(__caddy_gateway_caddyfile="{\n\tadmin off\n}\nhttps://nous.example.org {\n\tnonsense\n}\n")
    assert run.returncode != 0
    assert "Caddyfile:6" in run.stdout.replace("\n", ""), run.stdout
    assert "nonsense" in run.stdout
    assert caddy(host) == before
    serves(host)


def test_what_caddy_cannot_serve_is_rolled_back(host: Host) -> None:
    """It is valid, but a port of it is taken."""
    before = caddy(host)
    more = before["/etc/caddy/Caddyfile"].partition("\n")[2] + "\nhttp://nous.example.org:8088 {\n\trespond hello\n}\n"
    run = host.play(__caddy_gateway_caddyfile=more)
    output = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert "caddy reload failed" in output, output
    assert "address already in use" in output
    assert "Rolled back: the configuration from before serves." in output
    assert caddy(host) | {"pid": before["pid"]} == before, "it may be restarted"
    serves(host)
    assert host.sh("systemctl is-active caddy.service") == "active"
    again = host.play()
    assert "changed=0" in again.stdout, again.stdout


@only_full("waits a minute")
def test_what_does_not_become_ready_is_rolled_back(host: Host) -> None:
    before = caddy(host)
    run = host.play(**UNREACHABLE)
    output = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert "After 60 s the gateway does not answer" in output, output
    assert "https://127.0.0.1:1/directory" in output
    assert "Rolled back: the configuration from before serves." in output
    assert caddy(host) == before
    serves(host)


@only_full("waits a minute")
def test_it_is_rolled_back_without_ansible(host: Host) -> None:
    """The run is killed while the host still waits for the readiness probe."""
    before = caddy(host)
    run = subprocess.Popen(host.command(**UNREACHABLE), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert run.stdin
    run.stdin.write(PLAYBOOK)
    run.stdin.close()
    unit = "nous-vm-gateway-apply.service"
    host.sh(f"until systemctl --quiet is-active {unit}; do sleep 0.1; done")
    run.kill()
    run.wait()
    host.sh(f"while systemctl --quiet is-active {unit}; do sleep 0.5; done")
    assert caddy(host) == before
    serves(host)


@only_on("debian-13", "another run of the role, and it is the host's own logic")
def test_a_change_that_the_controller_does_not_reach_any_more_is_rolled_back(host: Host, tmp_path: Path) -> None:
    """The route to the controller goes as the host has verified the change; the host sees nothing wrong."""
    gateway = host.sh("ip -4 route show default").split()[2]
    before = caddy(host)
    known = GATE | {"ansible_docker_host": host.container, "caddy_gateway_confirm_seconds": 6, "caddy_gateway_operator_cidrs": ["198.51.100.0/24"]}
    inventory = tmp_path / "hosts.json"
    # Of an inventory, because what a command line says holds for the controller too.
    address = host.sh("hostname -I").split()[0]
    inventory.write_text(json.dumps({"all": {"hosts": {address: known}}}), encoding="ascii")
    cut = f"until test -e /run/nous-vm/gateway-confirm; do sleep 0.1; done; ip route add blackhole {gateway}"
    waiting = subprocess.Popen(["docker", "exec", host.container, "timeout", "120", "sh", "-c", cut])
    try:
        argv = ["ansible-playbook", "--inventory", str(inventory), "/dev/stdin"]
        run = subprocess.run(argv, cwd=REPOSITORY, input=PLAYBOOK, capture_output=True, text=True, check=False)
    finally:
        waiting.kill()
        host.sh(f"ip route del blackhole {gateway}", check=False)
    assert run.returncode != 0, run.stdout
    assert "had reached the gateway before, did not within 6 s" in run.stdout.replace("\n", " "), run.stdout
    assert "Rolled back: the configuration from before serves." in run.stdout
    assert caddy(host) == before
    serves(host)
