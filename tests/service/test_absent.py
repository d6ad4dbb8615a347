"""The server is taken away from a whole site, and comes back with its state."""

from __future__ import annotations

from host import Branch, Host, only_full

LEFT = """
find /etc/systemd/system /usr/local/sbin /run/motd.d -name '*nous*'
systemctl list-units --all --no-legend 'nous*' | grep -v ' inactive ' || true
"""
# What other roles bring.
OTHERS = ("audit-", "nous-gateway-", "host-watch", "/nous-.", "/nous.service.d", "/usr/local/sbin/nous-vm")


@only_full("four runs of the site")
def test_absent_leaves_state_and_nothing_that_runs(host: Host) -> None:
    branch = Branch(host)
    branch.push("3.0.0")
    run = host.play(**branch.followed)
    assert run.returncode == 0, run.stdout[-4000:]
    calls = host.query("SELECT count(*) FROM executed")
    assert "nous-follow.timer" in host.sh(LEFT) and "nous-vm-ready.path" in host.sh(LEFT)

    run = host.play(**branch.followed | {"nous_service_state": "absent"})
    left = [line for line in host.sh(LEFT).splitlines() if not any(word in line for word in OTHERS)]
    again = host.play(**branch.followed | {"nous_service_state": "absent"})
    back = host.play()  # whatever is found: others need the server
    assert run.returncode == 0, run.stdout[-4000:]
    assert left == []
    assert again.returncode == 0 and "changed=0 " in again.stdout, again.stdout[-4000:]
    assert back.returncode == 0, back.stdout[-4000:]
    assert host.answers()
    assert host.query("SELECT count(*) FROM executed") == calls
    host.sh("rm -r /srv/nous.git")
