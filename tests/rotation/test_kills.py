"""Killed without warning at every system call that changes a file, at random times, and with the whole host: nothing is lost."""

from __future__ import annotations

import re
from typing import Any

import pytest

Host = Any
NONE: list[str] = []
SEED = 4


@pytest.mark.parametrize(("label", "end", "every"), [("rotate", 50, 9), ("logrotate", 26, 6)])
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
    assert host.held("rotate", 2 * host.calls("rotate").index(f"write {host.log}") + 1)
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    host.sh(f"until [ -e /run/rotation-test/once ]; do sleep 0.05; done; rm /run/rotation-test/plan; systemctl kill --signal=SIGKILL {recover}")
    again = f"[ $(systemctl show --value --property=NRestarts {recover}) = 1 ] && [ $(systemctl is-active {recover}) = inactive ]"
    host.sh(f"timeout 120 sh -c 'until {again}; do sleep 0.05; done'")
    assert host.sh(f"lsattr {host.log} | cut -c6; ls {host.directory}/.segment; systemctl show --value --property=FreezerState {host.writer}") == (
        "a\naudit.jsonl\nrunning"
    )
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
    at = 2 * host.calls("rotate").index(f"write {host.log}") + 1
    before = host.archives()
    assert host.held("rotate", at).startswith(f"held at {at}")
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
    at = 2 * host.calls("rotate").index(f"write {host.log}") + 1
    assert host.held("rotate", at)
    assert host.sh(f"systemctl show --property=FreezerState --value {host.writer}") == "frozen"
    host.run("systemctl", "restart", "--no-block", host.writer)
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    host.sh(f"while [ $(systemctl is-active {host.rotation}) != failed ]; do sleep 0.05; done; rm /run/rotation-test/plan")
    host.sh(f'until systemctl is-active --quiet {host.writer} && [ -z "$(systemctl list-jobs --no-legend {host.writer})" ]; do sleep 0.1; done')
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_freeze_ends_by_itself(host: Host, full: bool) -> None:
    """Nothing of the rotation lives any more, not even its ExecStopPost=: systemd thaws the units after half a minute."""
    if not full:
        pytest.skip("waits for half a minute: make rotation-full")
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    at = 2 * host.calls("rotate").index(f"write {host.log}") + 1
    assert host.held("rotate", at)
    host.sh(f"timeout 45 sh -c 'until [ $(systemctl show --property=FreezerState --value {host.writer}) = running ]; do sleep 0.2; done'")
    host.sh("sleep 1")  # it writes on, before the rotation knows
    host.run("systemctl", "kill", "--signal=SIGKILL", host.rotation)
    host.sh(f"while [ $(systemctl is-active {host.rotation}) != failed ]; do sleep 0.05; done; rm /run/rotation-test/plan")
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
