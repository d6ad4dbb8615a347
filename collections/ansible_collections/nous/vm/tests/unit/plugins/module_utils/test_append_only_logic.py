# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory and files that can only grow: real flags on this machine's disk, as root; without root, what needs none."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _append_only
from ansible_collections.nous.vm.plugins.module_utils._append_only import Desired, ensure
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import processes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set inode flags")


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch, visible_processes: None) -> None:
    """This process is among those that are looked at, as if it were another."""
    others = processes.pids
    monkeypatch.setattr(processes, "pids", lambda: [os.getpid(), *others()])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if os.geteuid() == 0:
        subprocess.run(["chattr", "-R", "-f", "-a", str(tmp_path)], check=False)


def directory(place: Path, mode: int = 0o750, **more: Any) -> Desired:
    return Desired(str(place / "logs"), more.get("owner", "root"), more.get("group", "root"), mode, directory=True)


def log(place: Path, name: str = "a.log", mode: int = 0o660, **more: Any) -> Desired:
    return Desired(str(place / "logs" / name), more.get("owner", "root"), more.get("group", "root"), mode)


def rejection(place: Path, *files: Desired, top: Desired | None = None, check: bool = False) -> str:
    with pytest.raises(NousVmError) as caught:
        ensure(top or directory(place), list(files), check)
    return str(caught.value)


def attributes(path: Path | str) -> str:
    return subprocess.run(["lsattr", "-d", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]


@as_root
class TestRealFlags:
    def test_made_once(self, place: Path) -> None:
        files = [log(place), log(place, "b.log")]
        foretold = ensure(directory(place), files, True)
        assert list(place.iterdir()) == []

        assert ensure(directory(place), files, False) == foretold
        assert [path for path, _before, _after in foretold] == [str(place / "logs"), *(one.path for one in files)]
        assert {before["state"] for _path, before, _after in foretold} == {"absent"}
        assert foretold[1][2] == {"state": "file", "owner": "root", "group": "root", "mode": "0660", "append_only": True}
        for one in files:
            assert "a" in attributes(one.path)
            assert os.stat(one.path).st_mode & 0o7777 == 0o660
        assert (place / "logs").stat().st_mode & 0o7777 == 0o750

        assert ensure(directory(place), files, False) == []

    def test_what_is_made_can_grow_and_do_nothing_else(self, place: Path) -> None:
        ensure(directory(place), [log(place)], False)
        path = Path(log(place).path)
        with open(path, "ab") as file:
            file.write(b"line\n")
        assert path.read_bytes() == b"line\n"
        for attempt in (
            lambda: os.open(path, os.O_WRONLY),
            lambda: os.truncate(path, 0),
            lambda: os.rename(path, place / "x"),
            lambda: os.unlink(path),
            lambda: os.link(path, place / "x"),
            lambda: os.chmod(path, 0o666),
        ):
            with pytest.raises(PermissionError):
                attempt()

    def test_parents_are_made(self, place: Path) -> None:
        top = Desired(str(place / "x/y/logs"), "root", "root", 0o750, directory=True)
        ensure(top, [], False)
        assert (place / "x/y/logs").is_dir()

    def test_content_stays(self, place: Path) -> None:
        (place / "logs").mkdir()
        Path(log(place).path).write_bytes(b"old\n")
        ensure(directory(place), [log(place)], False)
        assert Path(log(place).path).read_bytes() == b"old\n"

    @pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
    def test_umask_does_not_matter(self, place: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            ensure(directory(place), [log(place)], False)
        finally:
            os.umask(before)
        assert os.stat(log(place).path).st_mode & 0o7777 == 0o660

    def test_owner_and_mode_are_mended_under_the_flag(self, place: Path) -> None:
        ensure(directory(place), [log(place)], False)
        changes = ensure(directory(place, 0o755), [log(place, mode=0o640, owner="daemon", group="daemon")], False)
        assert [path for path, _before, _after in changes] == [str(place / "logs"), log(place).path]
        found = os.stat(log(place).path)
        assert (found.st_uid, found.st_gid) == (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("daemon").gr_gid)
        assert found.st_mode & 0o7777 == 0o640
        assert "a" in attributes(log(place).path)

    @pytest.mark.parametrize("call", ["fchown", "fchmod"])
    def test_the_flag_is_back_when_mending_fails(self, place: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        ensure(directory(place), [log(place)], False)

        def failing(*_arguments: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, call, failing)
        with pytest.raises(OSError, match="Input/output error"):
            ensure(directory(place), [log(place, mode=0o640)], False)
        assert "a" in attributes(log(place).path)

    def test_other_flags_stay(self, place: Path) -> None:
        (place / "logs").mkdir(0o750)
        Path(log(place).path).touch(0o660)
        subprocess.run(["chattr", "+d", log(place).path], check=True)
        ensure(directory(place), [log(place)], False)
        assert {"a", "d"} <= set(attributes(log(place).path))

    @pytest.mark.parametrize("check", [True, False])
    @pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_APPEND])
    def test_mending_waits_for_nobody_who_writes(self, place: Path, flags: int, check: bool) -> None:
        ensure(directory(place), [log(place)], False)
        descriptor = os.open(log(place).path, flags)
        try:
            printed = rejection(place, log(place, mode=0o600), check=check)
        finally:
            os.close(descriptor)
        assert "is append-only with root:root 0660 instead of root:root 0600" in printed
        assert f"(pid {os.getpid()}): stop that first" in printed
        assert os.stat(log(place).path).st_mode & 0o7777 == 0o660
        assert "a" in attributes(log(place).path)

    @pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
    def test_who_could_overwrite_for_ever_is_named(self, place: Path, flags: int) -> None:
        (place / "logs").mkdir()
        descriptor = os.open(log(place).path, flags | os.O_CREAT)
        try:
            assert f"without O_APPEND, by {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})" in rejection(place, log(place))
        finally:
            os.close(descriptor)
        assert "a" not in attributes(log(place).path)

    @pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND])
    def test_readers_and_those_who_append_are_no_hindrance(self, place: Path, flags: int) -> None:
        (place / "logs").mkdir()
        descriptor = os.open(log(place).path, flags | os.O_CREAT)
        try:
            ensure(directory(place), [log(place)], False)
        finally:
            os.close(descriptor)
        assert "a" in attributes(log(place).path)

    def test_a_process_that_cannot_be_seen_is_reported(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "logs").mkdir()
        Path(log(place).path).touch()
        listdir = os.listdir

        def hidden(path: Any = ".") -> list[str]:
            if str(path) == "/proc/1/fd":
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return listdir(path)

        monkeypatch.setattr(processes, "pids", lambda: [1])
        monkeypatch.setattr(os, "listdir", hidden)
        assert "what process 1 holds open cannot be seen: CAP_SYS_PTRACE is missing" in rejection(place, log(place))

    def test_a_process_that_ends_meanwhile_is_no_error(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "logs").mkdir()
        Path(log(place).path).touch()
        child = subprocess.Popen(["true"])
        child.wait()
        monkeypatch.setattr(processes, "pids", lambda: [child.pid])
        ensure(directory(place), [log(place)], False)

    @pytest.mark.parametrize("check", [True, False])
    def test_a_trap_is_rejected(self, place: Path, check: bool) -> None:
        (place / "logs").mkdir()
        (place / "elsewhere").write_text("precious")
        os.symlink(place / "elsewhere", place / "logs/link")
        os.link(place / "elsewhere", place / "logs/second")
        os.mkfifo(place / "logs/fifo")
        os.mkdir(place / "logs/folder")
        assert "link is not a file." in rejection(place, log(place, "link"), check=check)
        for name in ("second", "fifo", "folder"):
            assert f"{name} is not a regular file with one name." in rejection(place, log(place, name), check=check)
        assert attributes(place / "elsewhere").count("a") == 0

    def test_a_directory_that_is_a_link_or_a_file_is_rejected(self, place: Path) -> None:
        (place / "real").mkdir()
        os.symlink(place / "real", place / "logs")
        assert "logs is not a directory." in rejection(place)
        os.unlink(place / "logs")
        (place / "logs").write_text("")
        assert "logs is not a directory." in rejection(place)

    def test_who_does_not_exist_is_named(self, place: Path) -> None:
        top = directory(place, owner="nobody-of-that-name")
        assert "cannot be given to nobody-of-that-name:root" in rejection(place, top=top)
        assert list(place.iterdir()) == []
        assert "no-such-group" in rejection(place, log(place, group="no-such-group"))
        assert list(place.iterdir()) == []

    def test_on_a_bare_host_the_group_may_be_absent_in_check_mode(self, place: Path) -> None:
        changes = ensure(directory(place, group="no-such-group"), [log(place, group="no-such-group")], True)
        assert [after["group"] for _path, _before, after in changes] == ["no-such-group"] * 2

    def test_numbers_without_a_name_are_shown_as_numbers(self, place: Path) -> None:
        (place / "logs").mkdir()
        os.chown(place / "logs", 54321, 54322)
        [(_path, before, _after), *_rest] = ensure(directory(place), [], True)
        assert (before["owner"], before["group"]) == ("54321", "54322")

    def test_an_error_that_speaks_of_no_missing_flag_is_not_swallowed(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ensure(directory(place), [log(place)], False)

        def broken(*_arguments: Any) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(fcntl, "ioctl", broken)
        with pytest.raises(OSError, match="Input/output error"):
            ensure(directory(place), [log(place)], False)

    def test_an_open_that_fails_for_another_reason_is_not_swallowed(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.open

        def broken(path: Any, *arguments: Any, **more: Any) -> int:
            if str(path).endswith("logs"):
                raise OSError(errno.EMFILE, "Too many open files", path)
            return real(path, *arguments, **more)

        monkeypatch.setattr(os, "open", broken)
        with pytest.raises(OSError, match="Too many open files"):
            ensure(directory(place), [], False)


@as_root
class TestTheFileSystemIsProbed:
    @pytest.fixture
    def ramfs(self, place: Path) -> Iterator[Path]:
        mount = place / "ramfs"
        mount.mkdir()
        subprocess.run(["mount", "-t", "ramfs", "ramfs", str(mount)], check=True)
        yield mount
        subprocess.run(["umount", str(mount)], check=True)

    @pytest.mark.parametrize("check", [True, False])
    @pytest.mark.parametrize("there", [True, False])
    def test_one_without_flags_is_rejected_by_name(self, ramfs: Path, there: bool, check: bool) -> None:
        if there:
            (ramfs / "logs").mkdir()
            Path(log(ramfs).path).touch()
        printed = rejection(ramfs, log(ramfs), check=check)
        assert printed.startswith(f"{ramfs}/logs would lie on ramfs (at {ramfs}")
        assert "files cannot be made append-only (setting it: Inappropriate ioctl for device)" in printed
        assert "for example ext4 or xfs" in printed
        assert (ramfs / "logs").exists() == there

    def test_one_that_takes_the_flag_and_does_not_mean_it(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_append_only, "set_append_only", lambda *_arguments: None)
        assert "the flag is taken, but the file can still be overwritten" in rejection(place, log(place))

    def test_a_missing_capability_is_reported(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(_descriptor: int, _on: bool) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(_append_only, "set_append_only", failing)
        assert "Operation not permitted, CAP_LINUX_IMMUTABLE is missing" in rejection(place, log(place))

    def test_nothing_is_left_where_a_file_needs_a_name(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.open

        def no_tmpfile(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", path)
            return real(path, flags, *arguments, **more)

        monkeypatch.setattr(os, "open", no_tmpfile)
        _append_only.probe(str(place))
        assert list(place.iterdir()) == []

    def test_files_that_have_the_flag_are_proof_enough(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ensure(directory(place), [log(place)], False)

        def asked(_directory: str) -> None:
            pytest.fail("the file system was asked again")

        monkeypatch.setattr(_append_only, "probe", asked)
        assert ensure(directory(place), [log(place)], False) == []


MOUNTS = [
    "1 0 8:1 / / rw - ext4 /dev/a rw\n",
    "2 1 0:5 / /var/log rw shared:1 - xfs /dev/b rw\n",
    "3 1 0:6 / /mnt/with\\040blank rw - zfs pool rw\n",
    "4 1 0:7 / /var/log rw - btrfs /dev/c rw\n",
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc", "ext4"),
        ("/", "ext4"),
        ("/var/logs", "ext4"),
        ("/var/log", "btrfs"),  # the later of two mounts at one place is the one that is seen
        ("/var/log/nous", "btrfs"),
        ("/mnt/with blank/x", "zfs"),
    ],
)
def test_a_file_system_is_named(path: str, kind: str) -> None:
    assert _append_only.file_system(path, MOUNTS) == kind


def test_without_mounts_it_is_unknown() -> None:
    assert _append_only.file_system("/", []) == "an unknown file system"
