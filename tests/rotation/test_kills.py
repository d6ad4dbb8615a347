"""Killed without warning at every system call that changes a file, at random times, and with the whole host: nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import only_on

Host = Any
NONE: list[str] = []
SEED = 4
WRITTEN = "after=pwrite64=/var/log/rotation-test/audit.jsonl"  # in the middle of the cut


@only_on("debian-13", "the program's own logic")
def test_killed_at_every_call_that_changes_a_file(host: Host, full: bool) -> None:
    """Before and after each; the long form takes every one once. Begun anew every few kills: each archive adds places to kill at."""
    host.begin()
    assert host.drive(rotations=3)["wrong"] == NONE
    end = 2 * len(host.calls("rotate"))
    places = list(range(0, end, 1 if full else 13))
    kills = []
    for first in range(0, len(places), 10):
        host.begin()
        assert host.drive(rotations=3)["wrong"] == NONE
        done = host.drive(kill="rotate", at=places[first : first + 10])
        assert done["wrong"] == NONE
        host.assert_complete()
        kills += done["done"]
    assert len(kills) == len(places), kills


def test_killed_at_any_time(host: Host, full: bool) -> None:
    """One process or all of the unit, while a rotation takes place; every few kills begun anew, with a service that writes at full speed in between."""
    for round in range(5 if full else 1):
        flood = round == 4  # each rotation has more to copy than the one before: a few are enough
        host.begin(rate=0 if flood else 1000)
        assert host.drive(rotations=1)["wrong"] == NONE
        done = host.drive(kill="unit", times=10 if full and not flood else 4, seed=SEED + round)
        assert done["wrong"] == NONE
        host.assert_complete()


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
    assert host.sh(f"lsattr {host.log} | cut -c6; ls {host.directory}/.segment") == "a"
    assert not host.frozen(host.writer)
    host.sh(f"rm -r /run/systemd/system/{recover}.d; systemctl daemon-reload")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


@only_on("debian-13", "the program's own logic")
def test_any_call_that_changes_a_file_may_fail(host: Host, full: bool) -> None:
    """A quota is not to be had on these hosts: the error is put in place of the call's result."""
    for how in ("EDQUOT", "EIO") if full else ("EDQUOT",):
        host.begin()
        assert host.drive(rotations=2)["wrong"] == NONE
        every = {"EDQUOT": 1, "EIO": 3}[how] if full else 9  # what is done about the two is the same
        places = list(range(0, len(host.calls("rotate")), every))
        done = host.drive(fail="rotate", how=how, at=places)
        assert done["wrong"] == NONE
        assert len(done["done"]) == len(places), done["done"]
        assert [one for one in done["done"] if "and so did the rotation" in one]
        host.assert_complete()


def test_out_of_memory(host: Host, full: bool) -> None:
    """The kernel kills what has reached a limit of memory, ever later in its run."""
    host.begin()
    assert host.drive(rotations=2)["wrong"] == NONE
    limits = [kibibytes << 10 for kibibytes in range(2048, 40 << 10, 1024 if full else 4096)]
    done = host.drive(memory="rotate", limits=limits)
    assert done["wrong"] == NONE
    assert 1 <= len(done["done"]) < len(limits), done["done"]
    host.assert_complete()


def test_the_host_goes_down_in_the_middle(host: Host, full: bool) -> None:
    """With the service enabled: it starts only after recovery, and goes on with the chain. The long form takes every call from the journal on."""
    host.begin()
    host.run("systemctl", "enable", host.writer)
    assert host.drive(rotations=2)["wrong"] == NONE
    made = host.calls("rotate")
    wanted = [("pwrite64 " + host.log, 1), ("ftruncate " + host.log, 1), (f"rename {host.directory}/.segment/audit.jsonl.partial {host.log}.1", 0)]
    first = next(at for at, one in enumerate(made) if one.endswith("audit.jsonl.journal"))  # before that there is nothing to recover
    places = range(2 * first, 2 * len(made), 2) if full else [2 * next(at for at, one in enumerate(made) if one == call) + after for call, after in wanted]
    for at in places:
        where = host.held("rotate", at)
        assert where.startswith(f"held at {at}"), (at, where)
        host.crash()
        host.start()
        assert (
            host.sh(f"systemctl show --property=Result --value audit-logrotate-rotation-test-recover.service; systemctl is-active {host.writer}")
            == "success\nactive"
        )
        assert host.drive(rotations=1)["wrong"] == NONE, where
    host.run("systemctl", "disable", host.writer)
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


# Tries all the time to get hold of its log in a way that can change more than its end, in ever new processes, and prints if it did.
OPENER = """
import os, sys
while True:
    if os.fork():
        os.wait()
        continue
    for _attempt in range(50):
        try:
            os.open(sys.argv[1], os.O_RDWR)
            print("it could open the log to overwrite it", flush=True)
        except PermissionError:
            pass
    os._exit(0)
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
        assert host.drive(rotations=10 if full else 1)["wrong"] == NONE  # and in the steps of one that does not hang
        assert host.sh(f"systemctl is-active {host.other}; journalctl --unit={host.other} --grep='could open' --quiet || true") == "active"
    host.assert_complete()


def test_systemd_answers_after_a_frozen_service_was_killed(host: Host, full: bool) -> None:
    """As the kernel kills for memory: systemd starts what follows in the frozen cgroup and waits for it, and with it everything that asks systemd.

    At moments all over the freeze; with the rotation killed too, its freezer thaws.
    """
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    place = f"/etc/systemd/system/{host.writer}.d"
    host.put(f"{place}/again.conf", "[Service]\nRestart=always\nRestartSec=0\nExecStopPost=/bin/true\n")
    host.sh(f"systemctl daemon-reload; systemctl restart {host.writer}")
    host.wait_holder(host.writer)
    calls = host.calls("rotate")
    first = next(at for at, call in enumerate(calls) if call == f"write {host.directory}/.segment/audit.jsonl.journal")
    last = next(at for at, call in enumerate(calls) if call == f"rename {host.directory}/.segment/audit.jsonl.partial {host.log}.1")
    moments = list(range(2 * first, 2 * last + 2))
    with_program, alone = (moments[:20], (moments * 20)[:180]) if full else (moments[9:10], moments[3::11])
    try:
        for chosen, program in ((with_program, True), (alone, False)):
            done = host.drive(frozen=chosen, first=moments[0], program=program)
            assert done["wrong"] == NONE
            waits = sorted(float(one.split()[-2]) for one in done["done"])
            print(f"{len(waits)} kills{' with the rotation' if program else ''}: systemd answered after {waits[len(waits) // 2]} s, at most {waits[-1]} s")
            assert len(done["done"]) == len(chosen), done["done"]
        assert not host.frozen(host.writer)
    finally:
        host.sh(f"rm -r {place}; systemctl daemon-reload")
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
    "ftruncate {aside}.partial",
    "fsync {aside}.partial",
    "write {aside}.journal",
    "ftruncate {aside}.journal",
    "fsync {aside}.journal",
    "ioctl {log}",
    "pwrite64 {log}",
    "ftruncate {log}",
    "fsync {log}",
    "ioctl {log}",
    "ioctl {log}.1",
    "rename {log}.1 {aside}.gone.1",
    "rename {aside}.packed {log}.2.gz",
    "ioctl {log}.2.gz",
    "rename {aside}.partial {log}.1",
    "ioctl {log}.1",
]


def test_everything_is_on_disk_before_the_log_is_touched_and_the_folder_complete_before_the_thaw(host: Host) -> None:
    """What is done in the freeze, in its order, as the kernel was asked: three times fsync, one cut, the names."""
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    names = {"log": host.log, "aside": f"{host.directory}/.segment/audit.jsonl"}
    calls = [call for call in host.calls("rotate") if host.directory in call and not call.startswith("openat ")]
    expected = [line.format(**names) for line in ORDER]
    begin = calls.index(expected[0])
    assert calls[begin : begin + len(expected)] == expected
    assert calls[begin + len(expected)] == f"fsync {host.directory}/.segment"
