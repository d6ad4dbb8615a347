# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake host whose nous-vm can be killed before any of its acts, as SIGKILL or a power cut does: no finally of it does anything more."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import preflight
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host, fake_host

ACTS = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "socket.connect"}


class Killed(BaseException):
    """Nothing of the program goes on."""


class Power:
    """Counts the acts of the program on its host, and ends it before the one that is asked for. seen: called before each, to look at the host."""

    current: Power | None = None

    def __init__(self, host: Host, seen: Callable[[], None]) -> None:
        self.host, self.seen, self.place = host, seen, os.fspath(host.folder)
        self.at: int | None = None
        self.count = 0
        self.on = self.dead = False

    def act(self) -> None:
        if not self.on or threading.current_thread() is not threading.main_thread():
            return
        self.on = False
        try:
            if not self.dead:
                self.seen()
                self.dead = self.count == self.at
            self.count += 1
        finally:
            self.on = True
        if self.dead:
            raise Killed

    def systemctl(self, argv: Sequence[str | Path], **options: Any) -> Completed:
        """Let the fake systemd do what it is told; its own acts are none of the program's."""
        self.act()
        on, self.on = self.on, False
        try:
            return self.host.systemd.run(argv, **options)
        finally:
            self.on = on

    @contextlib.contextmanager
    def running(self, at: int | None) -> Iterator[None]:
        """Run the program within, and kill it before its act of this number."""
        self.at, self.count, self.dead, self.on = at, 0, False, True
        try:
            yield
        except Killed:
            pass
        finally:
            self.on = False


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    power = Power.current
    if power is None or not power.on:
        return
    if event == "open":
        acts = isinstance(arguments[0], str) and arguments[0].startswith(power.place) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    else:
        acts = event in ACTS and any(power.place in str(each) for each in arguments)
    if acts:
        power.act()


sys.addaudithook(hook)


@contextlib.contextmanager
def powered(seen: Callable[[Host], None]) -> Iterator[Power]:
    """Yield a host that can be killed."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, fake_host(Path(folder), patch) as host:
        patch.setattr(preflight, "run", lambda _argv, **_options: Completed(0, b"", b""))
        Power.current = power = Power(host, lambda: seen(host))
        patch.setattr(systemd, "run", power.systemctl)
        try:
            yield power
        finally:
            Power.current = None


def boot(host: Host) -> None:
    """Switch the host off and on, up to where nous-recover.service is started."""
    shutil.rmtree(host.folder / "run", ignore_errors=True)
    (host.folder / "run").mkdir()
    host.systemd.active[NAMES.server], host.systemd.pid = False, 0
    host.systemd.daemon_reload()
    for unit in (NAMES.proxy_socket, NAMES.proxy):
        host.systemd.order("restart", unit)
