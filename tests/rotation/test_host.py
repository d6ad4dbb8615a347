"""The rotation on real hosts: real systemd, services that write all the while."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TRACED, only_full

Host = Any
NONE: list[str] = []


def test_a_second_run_changes_nothing_and_is_one_execution(host: Host, tmp_path: Path) -> None:
    executions = tmp_path / "executions"
    output = host.play_again(executions)
    assert "changed=0" in output, output
    [ran] = json.loads(executions.read_text(encoding="utf-8")).values()
    modules = [one.partition(":")[0].rpartition(".")[2] for one in ran]
    assert modules == ["probe"]


@pytest.mark.parametrize(("how", "rate"), [("once", 0), ("watched", 1000), ("once", 1000), ("watched", 0)])
def test_nothing_is_lost_while_a_service_writes(host: Host, full: bool, how: str, rate: int) -> None:
    """At full speed and throttled, by a descriptor that is never opened again and through WatchedFileHandler."""
    if not full and (how == "watched") == (rate == 0):
        pytest.skip("the short form takes one of each: make rotation-full")
    # What is written at full speed and not synced grows faster than it is compressed: it is begun anew every five rotations, and takes a minute each.
    flood = (how, rate) == ("once", 0)
    rotations = (10 if flood else 30) if full else 3
    each = min(rotations, 5) if flood else rotations
    for _round in range(rotations // each):
        host.begin(rate, how)
        pid = host.out("systemctl", "show", "--value", "--property=MainPID", host.writer)
        inode = host.out("stat", "--format=%i", host.log)
        # Beside another suite, a log that grows as fast as the machine writes may be left for later, as documented; nothing of it may be lost.
        assert "\n".join(host.drive(rotations=each, patience=2 if flood else 0)["wrong"]) == ""
        assert host.out("systemctl", "show", "--value", "--property=MainPID", host.writer) == pid
        assert host.sh(f"stat --dereference --format=%i /proc/{pid}/fd/* | grep --count '^{inode}$'") == "1"
        assert host.assert_complete()["segments"] == each


def test_restarts_between_rotations_go_on_with_the_chain(host: Host, full: bool) -> None:
    host.begin()
    for _round in range(10 if full else 2):
        assert host.drive(rotations=1)["wrong"] == NONE
        host.run("systemctl", "restart", host.writer)
        assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_restart_during_a_rotation_waits_for_its_end(host: Host, full: bool) -> None:
    """systemctl restart at whatever moment of it; test_kills has the one in which the unit is frozen."""
    host.begin()
    for _round in range(10 if full else 1):
        host.sh(f"for n in 1 2 3; do systemctl start --no-block {host.rotation}; sleep 0.1; systemctl restart {host.writer}; done")
        host.sh(f"while systemctl is-active --quiet {host.rotation} || [ $(systemctl is-active {host.rotation}) = activating ]; do sleep 0.05; done")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_several_logs_at_once(host: Host) -> None:
    host.begin()
    host.sh(f"systemctl start {host.other}; until [ $(stat -c %s {host.second}) -gt 10000 ]; do sleep 0.1; done")
    host.sh(f"echo '{{}}' >> {host.directory}/anchors.jsonl")
    anchors = host.out("md5sum", f"{host.directory}/anchors.jsonl")
    assert host.drive(rotations=3)["wrong"] == NONE
    steps = [line.partition(":")[0] for line in host.printed().splitlines()]
    assert steps.index("compress") < steps.index("freeze") < steps.index("thaw")  # what takes long is before the freeze
    assert host.out("md5sum", f"{host.directory}/anchors.jsonl") == anchors
    assert host.assert_complete()["segments"] == 3
    assert host.assert_complete(host.second, host.other)["segments"] == 3


@only_full("three runs of the role; molecule/audit_logrotate has one")
def test_uninstall_leaves_the_log(host: Host, tmp_path: Path) -> None:
    """Uninstalled in the middle of a cut, while the service writes; installed again, it goes on where it was."""
    host.begin()
    assert host.drive(rotations=2)["wrong"] == NONE
    before = host.archives()
    assert host.held("rotate", f"after=pwrite64={host.log}")
    assert "changed=0" not in host.play_again(tmp_path / "executions", audit_logrotate_state="absent")
    host.sh("rm /run/rotation-test/plan")
    drop_ins = Path(TRACED).parent  # of these tests: the role removes its own and leaves what is another's
    assert host.sh(f"find /etc/systemd /etc/nous-vm /usr/local -name '*audit*' -not -path {drop_ins}; ls {drop_ins}") == "often.conf\ntraced.conf"
    assert host.sh("systemctl list-units --all --no-legend --plain 'audit-logrotate-*' 'nous-vm-audit-*' | grep -v not-found || true") == ""
    assert host.sh(f"lsattr {host.log} {host.directory}/anchors.jsonl | cut -c6") == "a\na"
    after = host.archives()
    assert (len(before), len(after)) == (2, 2)  # what was begun was taken back
    assert all(about.endswith(" i-") for about in after.values())
    assert host.walk()["lost"] == 0
    host.sh(f"size=$(stat -c %s {host.log}); until [ $(stat -c %s {host.log}) -gt $size ]; do sleep 0.05; done")
    assert "changed=0" in host.play_again(tmp_path / "executions", audit_logrotate_state="absent")
    assert "changed=0" not in host.play_again(tmp_path / "executions")
    assert host.drive(rotations=2)["wrong"] == NONE
    assert host.assert_complete()["segments"] == 4
