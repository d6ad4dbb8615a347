# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd, as a deployment sees it."""

from __future__ import annotations

import functools
import resource
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ansible_collections.nous.vm.plugins.module_utils.nous_vm import programs
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import copies
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import names
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

if TYPE_CHECKING:
    from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host


NAMES = names()
PID = 4711


class FakeSystemd:
    """The part of systemd that nous-vm uses, as a function in the place of programs.run."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.active = {NAMES.proxy: True, NAMES.proxy_socket: True, NAMES.server: False}
        self.enabled, self.loaded = set[str](), dict[str, str]()
        self.crashes, self.pid, self.reload, self.system = 0, 0, "no", "running"
        self.calls: list[list[str]] = []
        self.real_copies = False  # whether the program runs that makes them, within the limits of its unit
        self.stops = True  # whether the server does when it is told to
        self.migration = Completed(0, b"", b"")
        self.checks: dict[str, Completed] = {}  # by the names of the operator's checks, which pass otherwise
        self.unit: Callable[[list[str]], Completed] = lambda _argv: Completed(0, b"{}", b"")

    def wanted(self, unit: str) -> bool:
        """Tell whether something starts a unit at boot."""
        return unit in self.enabled or any(self.host.units.glob(f"*.wants/{unit}"))

    def daemon_reload(self) -> None:
        """Read the units' files."""
        self.reload = "no"
        self.loaded = {path.name: path.read_text(encoding="utf-8") for path in self.host.units.glob("*.*") if path.is_file()}

    def directives(self, unit: str, name: str) -> list[str]:
        """Return what a directive has in the text of a unit that was read."""
        return [line.partition("=")[2] for line in self.loaded.get(unit, "").splitlines() if line.startswith(f"{name}=")]

    def run(self, argv: Sequence[str | Path], **options: Any) -> Completed:
        words = [str(each) for each in argv]
        self.calls.append(words)
        if words[0] == "systemd-run":
            return self.transient(words, **options)
        if words[0] == "journalctl":
            return Completed(0, b"a line of the journal\n", b"")
        return Completed(0, self.systemctl(words[1:]).encode(), b"")

    def orders(self, verb: str) -> list[list[str]]:
        """Return what systemctl was last told to do in one way."""
        return [call[1:] for call in self.calls if call[:2] == ["systemctl", verb]]

    def systemctl(self, words: list[str]) -> str:
        verb, units = words[0], [word for word in words[1:] if not word.startswith("-")]
        if verb == "show":
            return self.show(words, units)
        if verb == "is-active":
            return "active" if self.active.get(units[0]) else "inactive"
        if verb == "is-enabled":
            return "\n".join("enabled" if self.wanted(unit) else "disabled" for unit in units)
        if verb == "is-system-running":
            return self.system
        if verb == "daemon-reload":
            self.daemon_reload()
        elif verb in ("start", "restart", "stop"):
            for unit in units:
                self.order(verb, unit)
        return ""

    def show(self, words: list[str], units: list[str]) -> str:
        asked = next((word.removeprefix("--property=").split(",") for word in words if word.startswith("--property=")), None)
        blocks = []
        for unit in units:
            about = {
                "ActiveState": "active" if self.active.get(unit) else "inactive",
                "SubState": "running",
                "MainPID": str(self.pid if unit == NAMES.server else 0),
                "NRestarts": str(self.crashes if unit == NAMES.server else 0),
                "NeedDaemonReload": self.reload,
                "Documentation": " ".join(self.directives(unit, "Documentation")),
                "EnvironmentFiles": "/etc/nous/nous.env (ignore_errors=no)",
                "UnitFileState": "enabled" if self.wanted(unit) else "disabled",
            }
            blocks.append("\n".join(about.get(name, "") if "--value" in words else f"{name}={about.get(name, '')}" for name in asked or about))
        return "\n\n".join(blocks)

    def order(self, verb: str, unit: str) -> None:
        if unit in (NAMES.proxy, NAMES.proxy_socket) and verb == "restart":
            self.host.proxy.stop()
            self.host.proxy.start()
        if unit == NAMES.proxy_socket and verb == "restart":
            self.host.copy(NAMES.proxy)
        if unit == NAMES.server and verb == "stop":
            if self.stops:
                self.active[unit], self.pid = False, 0
            return
        running = self.active.get(unit)
        self.active[unit] = verb != "stop"
        if verb == "restart" or (verb == "start" and not running):
            self.host.copy(unit)
        if unit == NAMES.server and verb == "start" and not running:
            self.host.begin()

    def transient(self, words: list[str], **options: Any) -> Completed:
        if f"--unit={NAMES.copy}" in words:
            return self.copy(words, **options)
        if f"--unit={NAMES.check}" in words:
            return self.checks.get(Path(words[-1]).name, Completed(0, b"", b""))
        return self.migration if f"--unit={NAMES.migrate}" in words else self.unit(words)

    def copy(self, words: list[str], stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None, **_options: Any) -> Completed:
        way, database = words[-2:]
        if self.real_copies:
            limit = next(float(word.rpartition("=")[2]) for word in words if "RuntimeMaxSec=" in word)
            memory = 1 << 30 if "--property=LimitAS=1G" in words else resource.RLIM_INFINITY
            within = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory))
            return programs.run([sys.executable, *words[words.index("-I") :]], timeout=limit, stdin=stdin, stdout=stdout, preexec_fn=within)
        try:
            if way == "out":
                assert stdout
                copies.copy_out(Path(database), stdout)
            elif way == "clean":
                copies.clean(Path(database))
            else:
                assert stdin
                copies.copy_in(Path(database), stdin)
        except (SystemExit, sqlite3.Error) as error:
            return Completed(1, b"", str(error).encode())
        return Completed(0, b"", b"")
