# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for the tests of the deployment: systemd and the server are fakes, the local proxy is one behind a real admin socket.

What the fakes answer is what was seen of the real ones; the suite tests/service runs the same operations on a host.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks, pause, programs, systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import stream
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.release import OWN
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import audited, candidate, checks, preflight, running, server, units
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration import Configuration, load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.proxy import Proxy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.service import Service, service
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import tcp
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy import fake_systemd
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fake_network import FakeProxy, FakeServer
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fake_systemd import PID, FakeSystemd

NAMES = fake_systemd.NAMES


class Host:
    """All of it, in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.root = folder, folder / "root"
        self.systemd, self.server, self.proxy = FakeSystemd(self), FakeServer(), FakeProxy(folder / "admin.sock")
        self.database, self.path = folder / "home/state.db", folder / "deploy.json"
        for each in ("root/releases", "root/backups", "home", "log", "etc", "systemd"):
            (folder / each).mkdir(parents=True)
        self.files = [folder / "etc" / name for name in (NAMES.server, "nous.env", NAMES.proxy_socket, "50-nous.cfg", "key.pem", NAMES.proxy)]
        link, self.units = folder / "current", folder / "systemd"
        unit = f"Documentation=https://example.org/ file://{link}\nWantedBy=multi-user.target\n"
        texts = {
            NAMES.server: f"{unit}ExecStart={self.root}/current\nEnvironmentFile={link}/nous.env\nLoadCredential=nous-vm.generation:{link}/identity/server\n",
            NAMES.proxy: f"{unit}LoadCredential=nous-vm.generation:{link}/identity/proxy\n",
            NAMES.proxy_socket: f"{unit}ExecStartPost={link}/identity/socket\n",
        }
        for path in self.files:
            path.write_text(texts.get(path.name, "good\n"), encoding="utf-8")
            os.utime(path, (4e9, 4e9))  # clocks count for nothing
        self.audit = folder / "log/audit.jsonl"
        self.audit.touch()
        self.copies = folder / "run/credentials"
        self.at_start: Callable[[], object] = lambda: None  # what else happens when the server is started
        self.about: dict[str, Any] = {
            "root": str(self.root),
            "home": str(folder / "home"),
            "user": "root",
            "group": "root",
            "files": {("proxy.d/" if path.suffix == ".cfg" else "") + path.name: str(path) for path in self.files if path.suffix != ".pem"},
            "credentials": {"signing-key": str(self.files[4])},
            "database": str(self.database),
            "audit": str(self.audit),
            "address": self.server.address,
            "host": "nous.example.org",
            "timeout": 1,
            "deadline": 30,
            "drain": 0.1,
            "keep": 2,
            "migrate": [],
            "health_tool": "",
            "check": {},
        }
        self.proxy.start()
        monkeypatch.setattr(systemd, "run", self.systemd.run)
        monkeypatch.setattr(server, "in_network_of", lambda _pid, host, port: tcp(host, port))
        monkeypatch.setattr(server, "PATIENCE", 1.0)
        monkeypatch.setattr(preflight, "run", lambda argv, *, timeout, **_account: programs.run(argv, timeout=timeout))
        monkeypatch.setattr(running, "started_with", lambda unit: self.copies / unit)
        monkeypatch.setattr(running, "RUNTIME", self.copies.parent)
        monkeypatch.setattr(units, "UNITS", self.units)
        self.rehearsed: list[str] = []
        monkeypatch.setattr(candidate, "unhealthy", self.rehearse)
        self.unseen: str | None = None
        monkeypatch.setattr(audited, "fault", lambda _pid, _path: self.unseen)
        monkeypatch.setattr(checks, "FOLDER", folder / "checks.d")
        monkeypatch.setattr(locks, "FOLDER", folder / "locks")
        monkeypatch.setattr(pause, "RUNTIME", folder / "run")
        monkeypatch.setattr(pause, "FOLDER", folder / "run/pause")
        self.events: list[tuple[str, str]] = []
        monkeypatch.setattr(events, "_append", lambda line: self.events.append(tuple(json.loads(line)[key] for key in ("event", "result"))))
        monkeypatch.setattr("syslog.syslog", lambda _line: None)

    def rehearse(self, _configuration: Configuration, _names: object, release: str, **_options: object) -> str | None:
        """Stand for the rehearsal, which a release named "unfit" does not pass, nor any with the setting "unfit"."""
        self.rehearsed.append(release)
        settings = self.files[1].read_text(encoding="utf-8") if self.files[1].exists() else ""
        return "over stdio, it has no tools" if "unfit" in release + settings else None

    def service(self, **changes: Any) -> Service:
        """Return the server of this host, configured otherwise where that is asked for."""
        self.path.write_text(json.dumps(self.about | changes), encoding="utf-8")
        return service(self.configuration())._replace(proxy=Proxy(self.proxy.path))

    def configuration(self) -> Configuration:
        return load(self.path)

    def build(self, name: str, python: str = "3.13.5", programs: Sequence[str] = ()) -> str:
        """Make a release, which does what its name says."""
        folder = self.root / "releases" / name
        (folder / "venv/bin").mkdir(parents=True)
        for program in programs:
            (folder / program).touch()
        (folder / "venv/bin/python").symlink_to(self.interpreter())
        found = stream.read(folder, OWN)
        tree = {"sha256": found.digest, "entries": found.entries, "size": found.size}
        about = {"release": name, "python": python, "source": f"the source of {name}", "commit": name, "tree": tree}
        (folder / "release.json").write_text(json.dumps(about))
        return name

    def interpreter(self) -> Path:
        path = self.folder / "python3.13"
        path.touch(mode=0o755)
        return path

    def copy(self, unit: str) -> None:
        """Copy the files of a unit as systemd does at its start: with the credentials, or of the socket by a command of it."""
        shutil.rmtree(self.copies / unit, ignore_errors=True)
        (self.copies / unit).mkdir(parents=True)
        copies = dict(each.split(":", 1) for each in self.systemd.directives(unit, "LoadCredential"))
        copies |= {f"../../{unit}": path for path in self.systemd.directives(unit, "ExecStartPost")}
        copies |= {"signing-key": str(self.files[4])} if unit == NAMES.server else {}
        for name, path in copies.items():
            (self.copies / unit / name).write_bytes(Path(path).read_bytes() if Path(path).exists() else b"")

    def begin(self) -> None:
        """Start the server, which is the current release. The first one makes the database."""
        if not self.database.exists():
            with contextlib.closing(sqlite3.connect(self.database)) as database:
                database.executescript("CREATE TABLE notes (text); INSERT INTO notes VALUES ('first')")
        name = Path(*self.systemd.directives(NAMES.server, "ExecStart")).name
        environment = Path(*self.systemd.directives(NAMES.server, "EnvironmentFile")).read_text(encoding="utf-8")
        self.server.behaviour, self.systemd.crashes, self.systemd.pid = name.split("-")[0], 0, PID
        if "never" in environment or self.server.behaviour == "crash":
            self.systemd.crashes, self.systemd.pid = 1, 0
        if self.server.behaviour == "dead":
            self.systemd.active[NAMES.server], self.systemd.pid = False, 0
        if self.server.behaviour == "writes":
            self.note("written by a candidate")
        self.at_start()

    def note(self, text: str) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.execute("INSERT INTO notes VALUES (?)", [text])
            database.commit()

    def notes(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            return [text for (text,) in database.execute("SELECT text FROM notes")]

    def current(self) -> str:
        return str(json.loads((self.folder / "current/generation.json").read_bytes())["release"])

    def journal(self) -> dict[str, Any] | None:
        path = self.root / "deployment.json"
        return json.loads(path.read_bytes()) if path.exists() else None


@contextlib.contextmanager
def fake_host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Yield a host, and end what it runs."""
    host = Host(folder, monkeypatch)
    try:
        yield host
    finally:
        host.proxy.stop()
        host.server.http.shutdown()
        host.server.http.server_close()
