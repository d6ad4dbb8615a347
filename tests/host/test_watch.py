"""The watch on real hosts: every row is broken for real, and who is to be told is told once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller import wait

from .conftest import FORM, VARIABLES

Host = Any
DISK = "[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237; for n in $(seq 0 31); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done"
SMALL = f"{DISK}; truncate --size=64M /var/tmp/small; mkfs.ext4 -q -F -N 1000 /var/tmp/small; mkdir -p /srv/small; mount -o loop /var/tmp/small /srv/small"
JOURNAL = "systemd-journald-dev-log.socket systemd-journald.socket systemd-journald.service"
TIMER = "/etc/systemd/system/estate-daily.timer"
NOTES = "/var/lib/nous-vm/watch/failed"
UNMOUNT = "umount /srv/small; rm /var/tmp/small"
# How a row is broken, how that is undone, and what its detail says then.
BROKEN = {
    "space of /srv/small": (f"{SMALL}; dd if=/dev/zero of=/srv/small/f bs=1M status=none || true", UNMOUNT, "0.0 of 0.1 GiB free"),
    "inodes of /srv/small": (f"{SMALL}; (cd /srv/small; touch $(seq 1 1100)) 2>/dev/null || true", UNMOUNT, "0% of "),
    "masked units": (
        f"mv {TIMER} /root/; ln -s /dev/null {TIMER}; systemctl daemon-reload",
        f"rm {TIMER}; mv /root/estate-daily.timer {TIMER}; systemctl daemon-reload; systemctl start estate-daily.timer",
        "estate-daily.timer; sudo systemctl unmask estate-daily.timer, then run the site",
    ),
    "units at boot": (
        "systemctl disable --quiet estate-sleep.service",
        "systemctl enable --quiet estate-sleep.service",
        "not enabled: estate-sleep.service; sudo systemctl enable --now estate-sleep.service",
    ),
    "timers": ("systemctl stop estate-daily.timer", "systemctl start estate-daily.timer", "not started: estate-daily.timer"),
    "failed units": (
        "touch /run/estate-fails; ! systemctl start estate.service",
        f"rm /run/estate-fails; systemctl start estate.service; until ls {NOTES}/*; do sleep 0.1; done; rm -r {NOTES}",
        "estate.service failed (exit-code): journalctl --unit=estate.service",
    ),
    "journal": (
        f"systemctl mask --runtime --quiet systemd-journald.service; systemctl stop {JOURNAL}",
        f"systemctl unmask --runtime --quiet systemd-journald.service; systemctl start {JOURNAL}",
        "systemd-journald.service is masked; sudo systemctl unmask",
    ),
    "firewall": (
        "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; }; add rule inet t i tcp dport 80 accept'",
        "nft delete table inet t",
        "nftables lets nobody in on 443",
    ),
    "other units": ("echo '* * * * * root /srv/estate/run' > /etc/cron.d/stranger", "rm /etc/cron.d/stranger", "/etc/cron.d/stranger names /srv/estate"),
    "mode of alert-url": ("chmod 0644 /etc/nous-vm/watch/alert-url", "chmod 0600 /etc/nous-vm/watch/alert-url", "0644 root:root instead of 0600 root:root"),
    "watch": ("systemctl stop host-watch.timer", "systemctl start host-watch.timer", "host-watch.timer is inactive"),
}


def test_a_second_run_changes_nothing(host: Host) -> None:
    assert "changed=0" in host.apply()
    assert "changed=0" in host.apply("--check")


@FORM.only_full("the scenario has it for the whole role")
def test_of_a_unit_that_is_not_watched_any_more_nothing_is_left(host: Host) -> None:
    host.apply(host_watch_units=[*VARIABLES["host_watch_units"], "estate-sleep.service"])
    assert host.sh("ls /etc/systemd/system/estate-sleep.service.d") == "host-watch.conf"
    host.put("/etc/systemd/system/estate.service.d/own.conf", "[Unit]\nDescription=Somebody's\n")
    host.apply(host_watch_units=["estate-"])
    assert host.sh("ls -d /etc/systemd/system/estate*.service.d; find /etc/systemd/system -type d -empty").splitlines() == [
        "/etc/systemd/system/estate-.service.d",
        "/etc/systemd/system/estate.service.d",
    ]
    host.sh("rm -r /etc/systemd/system/estate.service.d")
    host.apply()


@pytest.mark.parametrize("name", BROKEN)
def test_a_row_is_red_when_what_it_is_about_is_broken(host: Host, name: str) -> None:
    how, mend, detail = BROKEN[name]
    assert host.rows().get(name, ("ok", ""))[0] == "ok"
    with host.broken(how, mend):
        status, seen = host.rows()[name]
        assert (status, detail in seen) == ("fail", True), seen
    assert host.rows().get(name, ("ok", ""))[0] == "ok"


def test_one_alert_and_one_well_again(host: Host) -> None:
    """A unit that fails is told of at once, without its timer; and while the catcher is away, nothing is lost and nothing is told twice."""
    host.forget()
    host.sh("systemctl stop catcher.service; touch /run/estate-fails; ! systemctl start estate.service")
    wait(lambda: "watch: failed units" in host.sh("cat /var/lib/nous-vm/watch/state.json"), "the run that OnFailure= starts", 120)
    wait(lambda: host.sh("systemctl is-active host-watch.service || true") == "inactive", "its end", 120)
    assert host.rows()["alerts"][0] == "fail"
    host.sh('systemctl start catcher.service; sed -i \'s/"due": [0-9.]*/"due": 0/\' /var/lib/nous-vm/watch/state.json')
    for _run in range(3):
        host.watch()
    (document,) = host.told(1)
    assert (document["status"], [each["row"] for each in document["red"]]) == ("red", ["watch: failed units"])
    assert host.rows()["alerts"][0] == "ok"
    assert len(host.got("/canary-of-the-heartbeat")) == 0
    host.sh("rm -r /run/estate-fails /var/lib/nous-vm/watch/failed; systemctl start estate.service")
    for _run in range(2):
        host.watch()
    first, second = host.told(2)
    assert (first["id"] != second["id"], second["status"], second["red"]) == (True, "well", [])
    assert len(host.got()) == 2
    assert len(host.got("/canary-of-the-heartbeat")) == 2


UNREACHED = "it cannot be reached"


@pytest.mark.parametrize(
    ("mode", "reason"), [("500", "it answers 500"), ("redirect", "a redirect, and none is followed"), ("endless", UNREACHED), ("slow", UNREACHED)]
)
def test_a_catcher_that_does_not_take_it(host: Host, mode: str, reason: str) -> None:
    if mode in ("endless", "slow") and not FORM.full:
        pytest.skip(f"unit tests have it on real sockets: {FORM.command}")
    host.forget()
    host.sh(f"echo {mode} > /run/catcher/mode")
    done = host.run("nous-vm", "watch", "test", "--json", check=False)
    assert done.returncode == 1
    assert reason in json.loads(done.stdout)["not_told"]["url"]
    assert host.got("/elsewhere") == []


def test_no_secret_is_seen(host: Host) -> None:
    host.forget()
    host.sh("echo 500 > /run/catcher/mode")
    # All that runs meanwhile, as long as it is sent.
    look = "cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep 'canary-[o]f' || true"
    host.sh(f"(while [ ! -e /run/enough ]; do {look}; done > /run/seen) & echo")
    host.run("nous-vm", "watch", "test", check=False)
    host.sh("touch /run/enough; sleep 0.5; rm /run/enough")
    assert host.sh("cat /run/seen") == ""
    assert len(host.got()) == 3
    assert host.sh("journalctl --quiet --output=cat | grep 'canary-[o]f' || true") == ""
    public = "find /etc /run/systemd /var/lib /var/log/nous-vm /run/nous-vm -type f -not -path '*/journal/*' -exec grep -l canary-of {} + || true"
    assert sorted(host.sh(public).splitlines()) == ["/etc/nous-vm/watch/alert-url", "/etc/nous-vm/watch/heartbeat-url"]
    assert "canary-of" not in host.apply("-vvv", "--check", host_watch_alert_url="https://alerts.invalid/canary-of-another")


def test_a_run_costs_little(host: Host) -> None:
    """The bound is half a second of CPU for the whole site; here with a factor of three for a machine that is busy or slow."""
    host.forget()
    host.watch()
    used = int(host.sh("systemctl show --value --property=CPUUsageNSec host-watch.service")) / 1e9
    print(f"CPU of a run: {used:.2f} s")
    assert used < 3 * 0.5


@FORM.only_full("as often as in 24 h")
def test_a_day(host: Host) -> None:
    """288 runs: the folder of the watch does not grow, and the journal by no more than what systemd writes of each start."""
    host.forget()
    size = "du --summarize --bytes /var/lib/nous-vm/watch | cut -f1"
    before = int(host.sh(size))
    host.sh("for n in $(seq 288); do systemctl start host-watch.service; done")
    assert int(host.sh(size)) <= before + 4096
    assert len(host.got("/canary-of-the-heartbeat")) >= 288
    assert host.got() == []
