"""What the fakes of the unit tests (deploy/fakes.py) claim of systemd and HAProxy, asked of the real ones."""

from __future__ import annotations

from host import PROXY, UNIT, Host

UNITS = ["nous.service", "nous-proxy.socket", "nous-proxy.service", "nous-state-flush.service", "nous-state-flush.timer"]
SCRATCH = """
cd /root; rm -rf contract; mkdir -p contract/1 contract/2
for each in 1 2; do
  printf '[Unit]\\nDocumentation=file:///root/contract/%s\\n[Service]\\nExecStart=/bin/sleep %s000\\n' $each $each > contract/$each/contract.service
done
ln -s 1 contract/current; ln -sf /root/contract/current/contract.service /etc/systemd/system/contract.service
systemctl daemon-reload; systemctl start contract.service
ln -s 2 contract/new; mv -T contract/new contract/current
systemctl restart contract.service
"""


def sleeps(host: Host) -> str:
    return host.sh("tr '\\0' ' ' < /proc/$(systemctl show --value --property=MainPID contract.service)/cmdline")


def test_units_that_are_links(host: Host) -> None:
    """They are enabled by links that are none of systemctl's, and say of which generation they are, in the order that was asked for."""
    number = host.sh("basename $(readlink /etc/nous-vm/current)")
    assert set(host.sh(f"systemctl is-enabled {UNIT} {PROXY} nous-proxy.socket nous-state-flush.timer").split()) == {"enabled"}
    blocks = host.sh(f"systemctl show --property=Documentation,NeedDaemonReload {' '.join(UNITS)}").split("\n\n")
    assert len(blocks) == len(UNITS)
    for block in blocks:
        about = dict(line.split("=", 1) for line in block.splitlines())
        assert f"file:///etc/nous-vm/generations/{number}" in about["Documentation"].split()
        assert about["NeedDaemonReload"] == "no"
    assert host.show("ActiveState", "no-such.service") == "inactive"
    assert host.show("MainPID", "no-such.service") == "0"


def test_a_link_that_moves_is_old_text_until_a_reload(host: Host) -> None:
    """So the order is rename, daemon-reload, compare, start."""
    host.sh(SCRATCH)
    try:
        assert "1000" in sleeps(host)
        assert host.show("Documentation", "contract.service") == "file:///root/contract/1"
        host.sh("systemctl daemon-reload; systemctl restart contract.service")
        assert "2000" in sleeps(host)
        assert host.show("Documentation", "contract.service") == "file:///root/contract/2"
    finally:
        host.sh("systemctl stop contract.service; rm -rf /etc/systemd/system/contract.service /root/contract; systemctl daemon-reload")


def test_copies_are_of_the_start(host: Host) -> None:
    """Of services they are credentials, which the server cannot write; of the socket, a file in /run."""
    folder = host.sh("readlink -f /etc/nous-vm/current")
    for unit, part in ((UNIT, "server"), (PROXY, "proxy")):
        copy = f"/proc/{host.show('MainPID', unit)}/root/run/credentials/{unit}/nous-vm.generation"
        assert host.sh(f"cat {copy}") == host.sh(f"cat {folder}/identity/{part}")
    assert host.sh("cat /run/nous-vm/nous-proxy.socket") == host.sh(f"cat {folder}/identity/socket")


def test_the_server_runs_in_its_source(host: Host) -> None:
    """Where nous names its scenarios from."""
    assert host.sh(f"readlink /proc/{host.show('MainPID')}/cwd") == host.sh("readlink -f /opt/nous/current/source")


def test_the_admin_socket_of_the_proxy(host: Host) -> None:
    """A pause twice is none too many; what waits, and what is rejected, is told apart."""
    program = """
from nous_vm.deploy.service import service
from nous_vm.pause import Reason
proxy, seen = service().proxy, []
for reasons in ([Reason("test", "x", 0.0)], [Reason("test", "x", 0.0)], [Reason("test", "x", 0.0, True)], [], []):
    proxy.apply(reasons)
    seen.append(proxy.traffic())
print(*seen, proxy.in_flight(), proxy.command("no such command").split(".")[0].split(":")[0])
"""
    assert host.package(program).startswith("paused paused rejected flows flows 0 Unknown command")
