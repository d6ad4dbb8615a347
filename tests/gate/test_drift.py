"""What runs, or what Caddy left on the disk, is not what the role left: the gateway comes back."""

from __future__ import annotations

import json
import ssl

from conftest import Host, only_on
from controller import wait
from wire import OPERATOR, STRANGER

CHECK = "/usr/local/sbin/nous-vm check --json"
OPENED = "/etc/caddy/opened"
RELOAD = f"caddy reload --adapter caddyfile --config {OPENED} --address unix//run/caddy/admin.sock"
REINSTALL = (
    "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq --yes -o Dpkg::Options::=--force-confask -o Dpkg::Options::=--force-confnew"
    " install --reinstall caddy > /dev/null 2>&1"
)


def status(host: Host, name: str) -> str:
    rows = json.loads(host.sh(CHECK, check=False))["rows"]
    return str(next(row["status"] for row in rows if row["name"] == name))


def has_certificate(host: Host) -> bool:
    try:
        host.client.secure(OPERATOR).close()
    except ssl.SSLError:
        return False
    return True


def brought_back(host: Host) -> None:
    """One run brings it back, and the next has nothing to do."""
    run = host.play()
    assert run.returncode == 0, run.stdout
    assert host.client.ask(OPERATOR, "/").seen
    assert host.client.ask(STRANGER, "/").denied == "address"
    assert status(host, "configuration") == "ok"
    assert "changed=0" in host.play().stdout


def test_a_gateway_that_was_opened_by_hand(host: Host) -> None:
    """By root, with a reload of another configuration: what is on disk is as the role left it. Such a gateway stayed open over green runs."""
    before = len(host.backend.seen)
    host.sh(f"sed 's|remote_ip .*|remote_ip 0.0.0.0/0|' /etc/caddy/Caddyfile > {OPENED} && {RELOAD} && rm {OPENED}")
    try:
        assert host.client.ask(STRANGER, "/").seen, "it is open"
        assert status(host, "configuration") == "fail"
    finally:
        del host.backend.seen[before:]
    brought_back(host)


@only_on("debian-13", "another run of the role")
def test_a_package_upgrade_that_replaced_the_caddyfile(host: Host) -> None:
    """The administrator, or unattended-upgrades by its configuration, takes the package's Caddyfile: the first run failed, the second was green."""
    host.sh("systemctl stop nous-gateway-repair.path")
    host.sh(REINSTALL)
    assert "root * /usr/share/caddy" in host.sh("cat /etc/caddy/Caddyfile")
    assert host.client.raw(STRANGER, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", port=80).startswith(b"HTTP/1.1 200"), (
        "it serves the welcome page"
    )
    brought_back(host)
    assert host.sh("systemctl is-active nous-gateway-repair.path") == "active"


@only_on("debian-13", "it is the unit's, and the same on both")
def test_a_package_upgrade_that_replaced_the_caddyfile_is_repaired(host: Host) -> None:
    """By the unit that watches the file, without a run."""
    before, idle = host.sh("cat /etc/caddy/Caddyfile"), "systemctl is-active nous-gateway-repair.service || true"
    host.sh(REINSTALL)
    wait(lambda: host.sh("cat /etc/caddy/Caddyfile") == before and host.sh(idle) == "inactive", "the repair")
    assert '"gateway repaired"' in host.sh("tail -n 5 /var/log/nous-vm/trail.jsonl")
    assert host.client.ask(OPERATOR, "/").seen
    assert host.client.ask(STRANGER, "/").denied == "address"


@only_on("debian-13", "another run of the role")
def test_a_caddy_that_does_not_answer(host: Host) -> None:
    """To systemd it is started."""
    host.sh("systemctl kill --signal=STOP caddy.service && systemctl is-active caddy.service")
    brought_back(host)


@only_on("debian-13", "it is the unit's, and the same on both")
def test_files_of_0_bytes_in_caddy_s_storage(host: Host) -> None:
    """A disk that is full while Caddy writes leaves them, and Caddy never started again, twice a second."""
    storage = "/var/lib/caddy/.local/share/caddy"
    host.sh(f"systemctl stop caddy.service && find {storage} -type f -exec truncate --size=0 {{}} + && systemctl start caddy.service")
    # Its own authority issues the certificate anew once Caddy runs; until then a handshake is an internal error.
    wait(lambda: has_certificate(host), "a certificate")
    assert host.client.ask(OPERATOR, "/").seen
    assert host.client.ask(STRANGER, "/").denied == "address"
    put_aside = host.sh(f"find {storage} -name '*.empty'").splitlines()
    assert [path for path in put_aside if path.endswith("root.crt.empty")], put_aside
    host.sh("systemctl restart caddy.service")
    assert host.sh(f"find {storage} -name '*.empty'").splitlines() == put_aside, "they are put aside once"
    assert host.sh("systemctl show --property=RestartSteps,RestartMaxDelayUSec caddy.service") == "RestartSteps=8\nRestartMaxDelayUSec=30s"
    assert "changed=0" in host.play().stdout
