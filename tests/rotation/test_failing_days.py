"""Days on which a rotation cannot be: no archive is lost or shifted, the log grows on, the unit is red, and the reason is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import only_on

Host = Any
NONE: list[str] = []


@contextmanager
def disk_full(host: Host) -> Iterator[str]:
    """The service's account fills it as far as it may, and root what is reserved for root."""
    anchors = f"{host.directory}/anchors.jsonl"
    account = "setpriv --reuid=nobody --regid=nogroup --groups=rotation-test --no-new-privs"
    full = host.sh(
        f"{account} dd if=/dev/zero of={anchors} oflag=append conv=notrunc bs=4k 2>&1 || dd if=/dev/zero of={host.directory}/fill bs=4k 2>&1 || true"
    )
    assert full.count("No space left on device") == 2
    yield "No space left on device"
    host.sh(f"rm {host.directory}/fill; chattr -a {anchors}; : > {anchors}; chattr +a {anchors}")


@contextmanager
def no_inodes(host: Host) -> Iterator[str]:
    """The service goes on to write: what is appended needs none. A copy of the log does."""
    host.sh(f"mkdir {host.directory}/many; cd {host.directory}/many; seq 100000 | xargs touch 2>&1 | grep -q 'No space left on device'")
    yield "No space left on device"
    host.sh(f"rm -r {host.directory}/many")


@contextmanager
def read_only(host: Host) -> Iterator[str]:
    """Without a writer: a file system with one cannot be made read-only."""
    host.stop()
    host.sh(f"mount -o remount,ro {host.directory}")
    yield "Read-only file system"
    host.sh(f"mount -o remount,rw {host.directory}; systemctl start {host.writer}")


@contextmanager
def stuck_freeze(host: Host) -> Iterator[str]:
    """systemd freezes no unit that is still starting, and this one never comes up."""
    with host.other_runs("exec sleep 600", kind="notify"):
        yield f"{host.other} is activating"


@contextmanager
def stranger(host: Host) -> Iterator[str]:
    unit = "rotation-test-stranger.service"
    host.sh(
        f"systemd-run --quiet --unit={unit} --property=SupplementaryGroups=rotation-test --property=DynamicUser=yes"
        f" --property=ReadWritePaths={host.directory} sh -c 'exec 5>>{host.log}; exec sleep 600'"
    )
    host.wait_holder(unit)
    yield "is held open for writing outside"
    host.sh(f"systemctl stop {unit}")


CAUSES = {
    "the disk is full": disk_full,
    "no inode is left": no_inodes,
    "the file system is read-only": read_only,
    "somebody else writes": stranger,
    "a unit cannot be frozen": stuck_freeze,
}


@pytest.fixture
def small_disk(host: Host) -> Iterator[Host]:
    """The log's directory on a small ext4 file system of its own, so that it can be filled."""
    host.begin()
    host.stop()
    host.mount(megabytes=16, inodes=256)
    host.sh(
        f"cd {host.directory}; chmod 0750 .; chgrp rotation-test ."
        "; for f in audit second anchors; do install -m 0660 -g rotation-test /dev/null $f.jsonl; chattr +a $f.jsonl; done"
    )
    host.begin(rate=100)
    with host.as_installed():
        yield host
    host.stop()
    host.sh(f"umount {host.directory}")


@only_on("debian-13", "the program's own logic")
def test_failing_days_cost_nothing(small_disk: Host, full: bool) -> None:
    host = small_disk
    assert host.drive(rotations=3)["wrong"] == NONE
    for day in [*CAUSES] * (5 if full else 1):
        before = host.archives()
        with CAUSES[day](host) as reason:
            assert not host.rotate(), day
            printed = host.printed().splitlines()
            assert any(reason in line for line in printed), (day, printed)
            rows = json.loads(host.run("nous-vm", "check", "--json", check=False).stdout)["rows"]
            assert "last rotation (rotation-test)" in {row["name"] for row in rows if row["status"] == "fail"}, day
            assert host.archives() == before, day
        assert not host.frozen(host.writer)
        assert host.out("systemctl", "is-active", host.writer) == "active"
        host.sh(f"size=$(stat -c %s {host.log}); until [ $(stat -c %s {host.log}) -gt $size ]; do sleep 0.05; done")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()
