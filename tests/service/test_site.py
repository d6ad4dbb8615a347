"""What else a run of the site makes of a host, or leaves alone: the server without a network of its own, and the distribution's HAProxy."""

from __future__ import annotations

from typing import Any

from host import PROXY, UNIT, Host, only_full

HAPROXY = "haproxy.service"
KEY = "sk-ant-that-opens-nothing"
OPEN: dict[str, Any] = {"nous_service_private_network": False, "nous_service_secrets": {"NOUS_ANTHROPIC_API_KEY": KEY}}
# As any local user does who wants to get round the gate.
REACH = """python3 -c "
import socket
try:
    socket.create_connection(('127.0.0.1', 8088), 9)
    print('reached')
except ConnectionRefusedError:
    print('unreachable')
"
"""


def taken(host: Host, **variables: object) -> None:
    run = host.play(**variables)
    assert run.returncode == 0, run.stdout[-4000:]


@only_full("two runs of the site")
def test_a_way_out_is_a_way_in(host: Host) -> None:
    """Without a network of its own the server may have a key for the API; it serves as before, and who looks is told what that costs."""
    try:
        with host.load() as load:
            taken(host, **OPEN)
        load.assert_nothing_failed()
        assert f"NOUS_ANTHROPIC_API_KEY={KEY}" in host.sh(f"tr '\\0' '\\n' < /proc/{host.show('MainPID')}/environ").splitlines()
        assert host.sh(REACH, user="ops") == "reached"
        rows = host.rows()
        assert rows["local access"] == ("warn", "127.0.0.1:8088 can be reached by every local user of this host, past the gateway")
        assert {name: row for name, row in rows.items() if row[0] != "ok" and name != "local access"} == {}
        assert {f"sandbox of {unit}" for unit in (UNIT, PROXY)} <= rows.keys()
    finally:
        taken(host)
    assert host.sh(REACH, user="ops") == "unreachable"
    assert host.rows()["local access"] == ("ok", "none but the socket")


def state_of_haproxy(host: Host) -> list[str]:
    return host.sh(f"systemctl is-enabled {HAPROXY} || true; systemctl is-active {HAPROXY} || true").split()


def test_haproxy_of_the_distribution_does_not_run(host: Host) -> None:
    assert state_of_haproxy(host) == ["disabled", "inactive"]


@only_full("two runs of the site, and a mirror is asked")
def test_haproxy_of_the_distribution_is_left_as_it_was(host: Host) -> None:
    """Off where the site brought it; where it was there before it is somebody's."""
    host.sh("apt-get -qq update; dpkg --purge --force-depends haproxy")
    try:
        taken(host)
        assert state_of_haproxy(host) == ["disabled", "inactive"]
        configuration = host.sh("md5sum /etc/haproxy/haproxy.cfg")
        host.sh(f"systemctl enable --now {HAPROXY}")
        taken(host, nous_service_settings={"NOUS_TICK_HZ": 3})
        assert state_of_haproxy(host) == ["enabled", "active"]
        assert host.sh("md5sum /etc/haproxy/haproxy.cfg") == configuration
    finally:
        host.sh(f"systemctl disable --now {HAPROXY}")
        taken(host)
