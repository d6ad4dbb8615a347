# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for the tests of the deployment: systemd and the server are fakes, the local proxy is one behind a real admin socket.

What the fakes answer is what was seen of the real ones; the suite tests/service runs the same operations on a host.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import resource
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks, pause, programs, systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import stream
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.release import OWN
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import audited, candidate, checks, copies, preflight, running, server, units
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration import Configuration, load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.proxy import Proxy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.service import Service, service
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import names
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import tcp
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

NAMES = names()
PID = 4711


class FakeProxy:
    """The part of HAProxy's command line that nous-vm uses, behind a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.paused, self.map, self.in_flight, self.log = path, False, dict[str, str](), 0, list[str]()
        self.silent = self.broken = False
        self.listener: socket.socket | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listener, self.paused = socket.socket(socket.AF_UNIX), False
        self.map.clear()
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def stop(self) -> None:
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:  # it was stopped
                return
            with connection, contextlib.suppress(OSError):  # of a client that is gone
                line = connection.recv(65536).decode().strip()
                if self.silent:
                    time.sleep(0.2)
                    continue
                connection.sendall("".join(f"{self.answer(command.strip())}\n" for command in line.split(";")).encode())

    def answer(self, command: str) -> str:
        self.log.append(command)
        words = command.split()
        if self.broken:
            return "Unknown command.\n"
        if command == "show stat":
            status = "PAUSED" if self.paused else "OPEN"
            return f"# pxname,svname,scur,status,\nnous,FRONTEND,0,{status},\nrequests,nous,{self.in_flight},no check,\nrequests,BACKEND,{self.in_flight},UP,\n"
        if words[:2] == ["show", "map"]:
            return "".join(f"0x1 {key} {value}\n" for key, value in self.map.items())
        if words[:2] == ["clear", "map"]:
            self.map.clear()
        elif words[:2] == ["add", "map"]:
            self.map[words[3]] = words[4]
        elif words[:2] == ["shutdown", "sessions"]:
            self.in_flight = 0
        elif words[1] == "frontend":
            wanted = words[0] == "disable"
            if wanted == self.paused:
                return f"All sockets are already {words[0]}d.\n"
            self.paused = wanted
        return ""


class FakeServer:
    """The server: a release named after what it does (good, other, crash, error, hang) answers so, when the fake systemd has started it."""

    def __init__(self) -> None:
        outer = self
        self.behaviour = "good"

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.reply(self)

            def do_GET(self) -> None:
                outer.reply(self)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.http.server_address[1]}"

    def reply(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if self.behaviour == "trickle":
            self.trickle(request)
            return
        status, headers, body = self.answer(request.command)
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def trickle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer a byte at a time, for ever."""
        with contextlib.suppress(OSError):
            while self.behaviour == "trickle":
                request.wfile.write(b"H")
                time.sleep(0.05)

    def answer(self, method: str) -> tuple[int, dict[str, str], bytes]:
        if self.behaviour == "error":
            return 500, {}, b"broken on purpose"
        if self.behaviour == "open":
            return 200, {"Content-Type": "text/event-stream"}, b'event: message\ndata: {"result": {}}\n\n'
        if self.behaviour == "odd":
            return (401, {"WWW-Authenticate": "Bearer"}, b"") if method == "POST" else (200, {}, b"[]")
        if method == "GET":
            return 200, {}, b'{"resource": "https://nous.example.org"}'
        return 401, {"WWW-Authenticate": "Bearer realm=x"}, b""


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
        properties = next(word for word in words if word.startswith("--property=")).removeprefix("--property=").split(",")
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
            blocks.append("\n".join(about.get(name, "") if "--value" in words else f"{name}={about.get(name, '')}" for name in properties))
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
