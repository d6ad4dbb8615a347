"""What else a run of the site leaves alone: the distribution's HAProxy."""

from __future__ import annotations

from host import Host, only_full

HAPROXY = "haproxy.service"


def taken(host: Host, **variables: object) -> None:
    run = host.play(**variables)
    assert run.returncode == 0, run.stdout[-4000:]


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
