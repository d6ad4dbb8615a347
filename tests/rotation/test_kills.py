"""Killed without warning at every system call that changes a file, at random times, and with the whole host: nothing is lost."""

from __future__ import annotations

import re
from typing import Any

import pytest

Host = Any
NONE: list[str] = []
SEED = 4
WRITTEN = "after=write=/var/log/rotation-test/audit.jsonl"  # in the middle of the cut


@pytest.mark.parametrize(("label", "end", "every"), [("rotate", 78, 13), ("logrotate", 26, 6)])
def test_killed_at_every_call_that_changes_a_file(host: Host, full: bool, label: str, end: int, every: int) -> None:
    """Before and after each. Every few kills it is begun anew: each kill adds two archives, and each archive two places to kill at."""
    places = list(range(0, end, 1 if full else every))
    kills = []
    for first in range(0, len(places), 6):
        host.begin()
        assert host.drive(rotations=2)["wrong"] == NONE
        done = host.drive(kill=label, at=places[first : first + 6])
        assert done["wrong"] == NONE
        host.assert_complete()
        kills += done["done"]
    assert len(kills) == len(places), kills


def test_killed_at_any_time(host: Host, full: bool) -> None:
    """One process or all of the unit, while a rotation takes place; every few kills begun anew, with a service that writes at full speed in between."""
    kills = []
    for round in range(15 if full else 1):
        host.begin(rate=0 if round % 5 == 4 else 1000)
        assert host.drive(rotations=1)["wrong"] == NONE
        done = host.drive(kill="unit", times=10, seed=SEED + round)
        assert done["wrong"] == NONE
        host.assert_complete()
        kills += done["done"]
    wanted = [f"killed in {program} ({whom})" for program in ("rotate", "logrotate") for whom in ("main", "all")]
    assert not full or not [one for one in wanted if not [kill for kill in kills if kill.startswith(one)]], kills


def test_a_recovery_that_is_killed_comes_again(host: Host) -> None:
    """Every process of the rotation was killed, and then every process of the unit that recovers from that."""
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    recover = host.rotation.replace(".service", "-recover.service")
    host.put(
        f"/run/systemd/system/{recover}.d/slow.conf",
        "[Service]\nExecStartPre=sh -c '[ ! -e /run/rotation-test/once ] || exit 0; : > /run/rotation-test/once; exec sleep 600'\n",
    )
    host.run("systemctl", "daemon-reload")
    assert host.out("systemctl", "show", "--property=StartLimitIntervalUSec", recover) == "StartLimitIntervalUSec=0"  # or it would not come a sixth time
    assert host.held("rotate", WRITTEN)
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    host.sh(f"until [ -e /run/rotation-test/once ]; do sleep 0.05; done; rm /run/rotation-test/plan; systemctl kill --signal=SIGKILL {recover}")
    again = f"[ $(systemctl show --value --property=NRestarts {recover}) = 1 ] && [ $(systemctl is-active {recover}) = inactive ]"
    host.sh(f"timeout 120 sh -c 'until {again}; do sleep 0.05; done'")
    assert host.sh(f"lsattr {host.log} | cut -c6; ls {host.directory}/.segment") == "a\naudit.jsonl"
    assert not host.frozen(host.writer)
    host.sh(f"rm -r /run/systemd/system/{recover}.d; systemctl daemon-reload")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_any_call_that_changes_a_file_may_fail(host: Host, full: bool) -> None:
    """A quota is not to be had on these hosts: the error is put in place of the call's result."""
    for how in ("EDQUOT", "ENOSPC", "EIO", "EROFS") if full else ("EDQUOT",):
        host.begin()
        assert host.drive(rotations=2)["wrong"] == NONE
        places = list(range(0, len(host.calls("rotate")), 1 if full else 4))
        done = host.drive(fail="rotate", how=how, at=places)
        assert done["wrong"] == NONE
        assert len(done["done"]) == len(places), done["done"]
        assert [one for one in done["done"] if "and so did the rotation" in one]
        host.assert_complete()


def test_out_of_memory(host: Host, full: bool) -> None:
    """The kernel kills what has reached a limit of memory, ever later in its run."""
    host.begin()
    assert host.drive(rotations=2)["wrong"] == NONE
    for label in ("rotate", "logrotate") if full else ("rotate",):
        limits = [kibibytes << 10 for kibibytes in range(256, 32 << 10, 256 if full else 2048)]
        done = host.drive(memory=label, limits=limits)
        assert done["wrong"] == NONE
        assert 1 <= len(done["done"]) < len(limits), done["done"]
    host.assert_complete()


def test_the_host_goes_down_in_the_middle(host: Host, full: bool) -> None:
    """With the service enabled: it starts only after recovery, and goes on with the chain."""
    host.begin()
    host.run("systemctl", "enable", host.writer)
    assert host.drive(rotations=2)["wrong"] == NONE
    points = {label: host.calls(label) for label in ("rotate", "logrotate")}
    places = [(label, at) for label, made in points.items() for at in range(2 * len(made))]
    if not full:
        wanted = [("rotate", "write " + host.log, 0), ("rotate", "ftruncate " + host.log, 1), ("logrotate", "unlink " + host.log + ".1", 0)]
        places = [(label, 2 * points[label].index(call) + after) for label, call, after in wanted]
    for label, at in places:
        where = host.held(label, at)
        assert where.startswith(f"held at {at}"), (label, at, where)
        host.crash()
        host.start()
        assert (
            host.sh(f"systemctl show --property=Result --value audit-logrotate-rotation-test-recover.service; systemctl is-active {host.writer}")
            == "success\nactive"
        )
        assert host.drive(rotations=1)["wrong"] == NONE, (label, where)
    host.run("systemctl", "disable", host.writer)
    host.assert_complete()


def test_a_segment_of_before_a_crash_of_the_host_is_archived_at_its_next_boot(host: Host) -> None:
    """Recovery finishes the cut before the services start; the archive is made after that, and not only on the next day."""
    host.begin()
    before = host.archives()
    assert host.held("rotate", WRITTEN)
    host.crash()
    host.start()
    waits = f"[ $(systemctl is-active {host.rotation}) = activating ] || [ -e {host.directory}/.segment/audit.jsonl ]"
    host.sh(f"timeout 60 sh -c 'while {waits}; do sleep 0.1; done'")
    assert len(host.archives()) == len(before) + 1, host.printed()
    host.run("systemctl", "start", host.writer)
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_restart_of_the_frozen_service_waits_and_loses_nothing(host: Host) -> None:
    """Held in the middle of the cut, as if the program hung; whoever restarts the service meanwhile gets it, whole."""
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    assert host.held("rotate", WRITTEN)
    assert host.frozen(host.writer)
    host.run("systemctl", "restart", "--no-block", host.writer)
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    host.sh(f"while [ $(systemctl is-active {host.rotation}) != failed ]; do sleep 0.05; done; rm /run/rotation-test/plan")
    host.sh(f'until systemctl is-active --quiet {host.writer} && [ -z "$(systemctl list-jobs --no-legend {host.writer})" ]; do sleep 0.1; done')
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


# Tries all the time to get hold of its log in a way that can change more than its end, and prints if it did.
OPENER = """
import os, sys
while True:
    try:
        os.open(sys.argv[1], os.O_RDWR)
        print("it could open the log to overwrite it", flush=True)
        break
    except PermissionError:
        pass
"""


def ended(host: Host) -> None:
    """Wait until a rotation that was held has failed and been recovered from."""
    host.sh(f"timeout 60 sh -c 'while [ $(systemctl is-active {host.rotation}) != failed ]; do sleep 0.05; done'; rm /run/rotation-test/plan")
    recover = host.rotation.replace(".service", "-recover.service")
    host.sh(f"timeout 60 sh -c 'while systemctl list-jobs --no-legend | grep -q {recover}; do sleep 0.05; done'")


@pytest.mark.parametrize("when", ["after", "before"], ids=lambda when: f"{when} the flag is lifted")
def test_a_rotation_that_hangs_is_killed_and_the_log_protected_before_the_thaw(host: Host, full: bool, when: str) -> None:
    """The service tries without end to open its log to overwrite it, at whatever moment that might be possible."""
    if not full and when == "before":
        pytest.skip("the short form takes the worse one: make rotation-full")
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    host.put("/usr/local/lib/rotation-test/opener.py", OPENER)
    with host.other_runs(f"exec python3 /usr/local/lib/rotation-test/opener.py {host.log}"):
        assert host.held("rotate", f"{when}=ioctl={host.log}")
        assert host.frozen(host.other)
        assert host.sh(f"lsattr {host.log} | cut -c6") == ("-" if when == "after" else "a")
        host.sh(f"size=$(stat -c %s {host.log}); timeout 30 sh -c 'until [ $(stat -c %s {host.log}) -gt $1 ]; do sleep 0.05; done' - $size")  # it is thawed
        assert host.sh(f"lsattr {host.log} | cut -c6") == "a"
        host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)  # what traced it
        ended(host)
        assert host.drive(rotations=1)["wrong"] == NONE
        assert host.sh(f"systemctl is-active {host.other}; journalctl --unit={host.other} --grep='could open' --quiet || true") == "active"
    host.assert_complete()


def test_systemd_answers_after_a_frozen_service_was_killed(host: Host) -> None:
    """As the kernel kills for memory: systemd starts what follows in the frozen cgroup and waits for it, and with it everything that asks systemd."""
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    place = f"/etc/systemd/system/{host.writer}.d"
    host.put(f"{place}/again.conf", "[Service]\nRestart=always\nRestartSec=0\nExecStopPost=/bin/true\n")
    host.sh(f"systemctl daemon-reload; systemctl restart {host.writer}")
    host.wait_holder(host.writer)
    pid = host.out("systemctl", "show", "--value", "--property=MainPID", host.writer)
    assert host.held("rotate", WRITTEN)
    assert host.frozen(host.writer)
    host.sh(f"kill -9 {pid}; timeout 30 systemctl show --property=ActiveState {host.writer}; systemctl kill --signal=SIGKILL {host.rotation}")
    ended(host)
    host.sh(f"timeout 60 sh -c 'until systemctl is-active --quiet {host.writer}; do sleep 0.1; done'")
    host.wait_holder(host.writer)
    assert not host.frozen(host.writer)
    host.sh(f"rm -r {place}; systemctl daemon-reload")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.stop()
    found = host.walk()
    assert (found["lost"], found["doubled"], found["unchained"]) == (0, 0, 0)  # a record may be torn: it was killed


def test_units_are_thawed_although_their_freezer_was_killed(host: Host) -> None:
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    assert host.held("rotate", WRITTEN)
    host.sh("systemctl kill --signal=SIGKILL 'nous-vm-audit-rotation-test-freezer-*'")
    host.sh("timeout 30 sh -c 'while systemctl list-units --no-legend nous-vm-audit-* | grep -q .; do sleep 0.05; done'")
    assert host.frozen(host.writer)
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    ended(host)
    assert not host.frozen(host.writer)
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


ORDER = [
    "fsync {segment}.partial",
    "fsync {aside}.kept.new",
    "rename {aside}.kept.new {segment}.kept",
    "fsync {directory}/.segment",
    "fsync {aside}.journal.new",
    "rename {aside}.journal.new {segment}.journal",
    "fsync {directory}/.segment",
    "ioctl {log}",
    "write {log}",
    "ftruncate {log}",
    "fsync {log}",
    "ioctl {log}",
    "rename {segment}.partial {segment}",
    "fsync {directory}/.segment",
    "unlink {segment}.journal",
    "unlink {segment}.kept",
]


def test_everything_is_on_disk_before_the_log_is_touched(host: Host) -> None:
    """The order of write, fsync, rename and fsync of the directory, as the kernel was asked."""
    host.begin()
    names = {
        "log": host.log,
        "directory": host.directory,
        "segment": f"{host.directory}/.segment/audit.jsonl",
        "aside": f"{host.directory}/.segment/.audit.jsonl",
    }
    calls = [re.sub(r"[.][0-9]+[.]new", ".new", call) for call in host.calls("rotate") if host.directory in call]
    seen = [call for call in calls if call.split()[0] in ("fsync", "rename", "ioctl", "ftruncate", "unlink") or call == f"write {host.log}"]
    assert seen == [line.format(**names) for line in ORDER]
    seen = host.calls("logrotate")
    if (packed := f"fsync {host.log}.1.gz") in seen:
        assert seen.index(packed) < seen.index(f"unlink {host.log}.1")
