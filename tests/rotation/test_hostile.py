"""What the service's own account can do to its log: append and read, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import only_full

Host = Any
NONE: list[str] = []
MAY = {"append to the log", "append to the anchors", "read the log", "read an archive"}


def as_service(host: Host, *argv: str) -> list[str]:
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=rotation-test", "--no-new-privs", *argv]


@pytest.fixture
def rotated(host: Host) -> Host:
    """A host on which a service writes, with one archive."""
    host.begin()
    assert host.drive(rotations=1)["wrong"] == NONE
    return host


def test_it_may_append_and_read_and_nothing_else(rotated: Host) -> None:
    host = rotated
    assert host.drive(rotations=1)["wrong"] == NONE  # so that there is a compressed one
    attempts = json.loads(host.out(*as_service(host, "python3", "/usr/local/lib/rotation-test/hostile.py", host.log, f"{host.directory}/anchors.jsonl")))
    assert {name for name, result in attempts.items() if result == "done"} == MAY
    assert len(attempts) > 61
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_descriptor_that_could_overwrite_stops_the_rotation_and_is_named(rotated: Host) -> None:
    """Opened to read and write in a moment without the flag (by root's mistake, say), and kept inside the service's own unit."""
    host = rotated
    host.sh(f"chattr -a {host.log}")
    with host.other_runs(f"exec 5<>{host.log}; exec sleep 600"):
        host.wait_holder(host.other)
        host.sh(f"chattr +a {host.log}")
        before = host.archives()
        assert not host.rotate()
        assert "is held open for writing without O_APPEND, or mapped into memory, by sleep (pid " in host.printed()
        check = json.loads(host.run("nous-vm", "check", "--json", check=False).stdout)["rows"]
        # The sandbox is opened here, to trace the rotation.
        wrong = {row["name"]: row["detail"] for row in check if row["status"] == "fail" and not row["name"].startswith("sandbox")}
        assert set(wrong) == {"audit.jsonl writers append (rotation-test)", "service holds its log (rotation-test)", "last rotation (rotation-test)"}
        assert "held open without O_APPEND" in wrong["service holds its log (rotation-test)"]
        assert host.archives() == before
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


# mprotect(2) makes it writable at any time. Python's own mmap would keep a descriptor.
MAPPER = """
import ctypes, mmap, os, signal, sys
log = os.open(sys.argv[1], os.O_RDWR)
libc = ctypes.CDLL(None)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mmap.restype = ctypes.c_void_p
assert libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, log, 0) != ctypes.c_void_p(-1).value
os.close(log)
open(sys.argv[2], "w").close()
signal.pause()
"""


def test_a_mapping_that_could_overwrite_stops_the_rotation_and_is_named(rotated: Host) -> None:
    """As above, but in its memory, with no descriptor left: it could rewrite records for as long as it lives."""
    host = rotated
    host.put("/usr/local/lib/rotation-test/mapper.py", MAPPER)
    host.sh(f"chattr -a {host.log}")
    ready = "/var/tmp/mapped"  # of its own
    with host.other_runs(f"exec python3 /usr/local/lib/rotation-test/mapper.py {host.log} {ready}"):
        pid = host.out("systemctl", "show", "--value", "--property=MainPID", host.other)
        host.sh(f"timeout 30 sh -c 'until [ -e /proc/{pid}/root{ready} ]; do sleep 0.05; done'; chattr +a {host.log}")
        before = host.archives()
        assert not host.rotate()
        assert "or mapped into memory, by python3 (pid " in host.printed()
        check = json.loads(host.run("nous-vm", "check", "--json", check=False).stdout)["rows"]
        wrong = {row["name"] for row in check if row["status"] == "fail" and not row["name"].startswith("sandbox")}
        assert wrong == {"audit.jsonl writers append (rotation-test)", "service holds its log (rotation-test)", "last rotation (rotation-test)"}
        assert host.archives() == before
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_process_of_the_group_outside_the_units_stops_the_rotation_and_is_named(rotated: Host) -> None:
    host = rotated
    host.sh("systemd-run --quiet --unit=rotation-test-stranger --property=SupplementaryGroups=rotation-test --property=DynamicUser=yes sleep 600")
    before = host.archives()
    assert not host.rotate()
    assert "could be opened by sleep (pid " in host.printed()
    assert host.archives() == before
    host.sh("systemctl stop rotation-test-stranger.service")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


@only_full("the freeze of a stopped process is the kernel's")
def test_a_service_that_stops_itself_is_rotated_all_the_same(rotated: Host) -> None:
    """By SIGSTOP, and goes on after that: a stopped process is frozen like another one, and the thaw does not wake it."""
    host = rotated
    host.run("systemctl", "kill", "--signal=SIGSTOP", host.writer)
    assert host.drive(rotations=2)["wrong"] == NONE
    assert " T " in host.sh(f"cat /proc/$(systemctl show --value --property=MainPID {host.writer})/stat")
    host.run("systemctl", "kill", "--signal=SIGCONT", host.writer)
    host.sh(f"size=$(stat -c %s {host.log}); until [ $(stat -c %s {host.log}) -gt $size ]; do sleep 0.05; done")
    assert host.drive(rotations=1)["wrong"] == NONE
    host.assert_complete()


def test_a_wrong_mode_under_the_flag_is_mended_by_the_next_rotation(rotated: Host) -> None:
    host = rotated
    host.sh(f"chattr -a {host.log}; chmod 0600 {host.log}; chattr +a {host.log}")
    assert host.drive(rotations=1)["wrong"] == NONE
    assert "mend: " in host.printed()
    assert host.out("stat", "--format=%a %U:%G", host.log) == "660 root:rotation-test"
    host.assert_complete()


def test_the_check_is_not_red_before_the_first_record(host: Host) -> None:
    """A server that opens its log at its first record only: it runs, and holds nothing yet."""
    host.begin()
    host.stop()
    with host.other_runs("exec sleep 600"):
        rows = json.loads(host.run("nous-vm", "check", "--json", check=False).stdout)["rows"]
    [row] = [row for row in rows if row["name"] == "service holds its log (rotation-test)"]
    assert (row["status"], "nobody here counts whether it was called" in row["detail"]) == ("unknown", True)
