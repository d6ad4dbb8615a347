# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that freezes and thaws: it sets the flag before it thaws, and thaws only when the rotation asked for it or has ended."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import freezer
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.commands import audit_freezer
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.kernel import Kernel
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place

Rotation = Callable[[socket.socket, int], None]


class Scene:
    """A rotation in a process of its own, which has lifted the flag of its log, and the freezer in this one."""

    def __init__(self, place: Place, kernel: Kernel, path: Path) -> None:
        self.place, self.kernel, self.path = place, kernel, path
        self.thawed_with: list[tuple[bool, bool]] = []  # whether the log was append-only, and whether the rotation had ended, at each thaw
        kernel.before_thaw = lambda: self.thawed_with.append((bool(inodes.flags(place.log) & inodes.APPEND_ONLY), self.ended()))

    def ended(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().split()[2] == "Z"

    def serve(self, rotation: Rotation) -> tuple[int, str]:
        """Run both; return the exit code of the rotation and what it was told, an answer a line."""
        self.place.write(LINES)
        told, tell = os.pipe()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            listener.bind(str(self.path))
            listener.listen()
            os.write(tell, b".")
            connection = listener.accept()[0]
            inodes.change(self.place.log, off=inodes.APPEND_ONLY)
            rotation(connection, tell)
            os._exit(0)
        os.close(tell)
        os.read(told, 1)
        names = argparse.Namespace(name="x", socket=self.path, cgroup=["/w"], log=[self.place.log])
        try:
            audit_freezer.run(names)
        finally:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            with os.fdopen(told, "rb") as answers:
                self.answers = answers.read().decode()
        return code, self.answers


def ask(connection: socket.socket, tell: int, what: bytes) -> None:
    connection.send(what)
    os.write(tell, connection.recv(1000) + b"\n")


@pytest.fixture
def scene(place: Place, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(freezer, "LIMIT", 1.0)
    monkeypatch.setattr(freezer, "FREEZE", 0.1)
    yield Scene(place, Kernel(monkeypatch), tmp_path_factory.mktemp("socket") / "s")


def test_frozen_and_thawed_on_request(scene: Scene) -> None:
    def rotation(connection: socket.socket, tell: int) -> None:
        ask(connection, tell, b"freeze")
        ask(connection, tell, b"thaw")

    assert scene.serve(rotation) == (0, "frozen\nthawed\n")
    assert scene.thawed_with == [(True, False)]
    assert scene.kernel.frozen == set()


def test_a_rotation_that_ends_meanwhile(scene: Scene) -> None:
    archives = [scene.place.directory / name for name in ("log.1", "log.2.gz", "log.old")]
    for path in archives:
        path.write_bytes(b"x")  # it was about to rename them
    assert scene.serve(lambda connection, tell: ask(connection, tell, b"freeze")) == (0, "frozen\n")
    assert scene.thawed_with == [(True, True)]
    assert [bool(inodes.flags(path) & inodes.IMMUTABLE) for path in archives] == [True, True, False]


def test_a_rotation_that_hangs_is_killed_first(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    def rotation(connection: socket.socket, tell: int) -> None:
        ask(connection, tell, b"freeze")
        signal.pause()

    assert scene.serve(rotation) == (-signal.SIGKILL, "frozen\n")
    assert scene.thawed_with == [(True, True)]
    assert "does not go on in its time: it is killed" in capsys.readouterr().err


def test_a_freezer_that_is_stopped_kills_the_rotation_first(scene: Scene) -> None:
    parent = os.getpid()

    def rotation(connection: socket.socket, tell: int) -> None:
        ask(connection, tell, b"freeze")
        os.kill(parent, signal.SIGTERM)
        signal.pause()

    with pytest.raises(SystemExit):
        scene.serve(rotation)
    assert scene.thawed_with == [(True, True)]


def test_units_that_do_not_freeze(scene: Scene) -> None:
    scene.kernel.deaf = True

    def rotation(connection: socket.socket, tell: int) -> None:
        ask(connection, tell, b"freeze")
        ask(connection, tell, b"thaw")

    assert scene.serve(rotation) == (0, "not frozen after 0.1 s: /w\nthawed\n")


def test_what_fails_is_answered(scene: Scene) -> None:
    scene.kernel.error = PermissionError(30, "Read-only file system")

    def rotation(connection: socket.socket, tell: int) -> None:
        ask(connection, tell, b"freeze")
        scene.place.again()
        scene.place.log.unlink()
        ask(connection, tell, b"thaw")
        scene.place.write(LINES)

    code, answers = scene.serve(rotation)
    assert code == 0
    assert "a unit cannot be frozen: [Errno 30] Read-only file system\n" in answers
    assert "not protected: [Errno 2] No such file or directory" in answers
    assert "not thawed: [Errno 30] Read-only file system" in answers


def test_a_rotation_that_is_gone_before(tmp_path: Path) -> None:
    with pytest.raises(NousVmError, match="no rotation listens on"), freezer.connected(tmp_path / "s", 1):
        pass


def test_a_connection_that_is_reset_is_a_rotation_that_ended(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer.Freezer, "_asked", lambda _freezer, _deadline: b"")
    assert scene.serve(lambda _connection, _tell: time.sleep(60)) == (-signal.SIGKILL, "")
    assert scene.thawed_with == [(True, True)]
