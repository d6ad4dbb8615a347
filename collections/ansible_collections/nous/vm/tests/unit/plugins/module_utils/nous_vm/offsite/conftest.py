# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host below a folder, and a restic that keeps its snapshots in another."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite import check, configuration, operations, placing, restic, sets, verify
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

# What restic 0.18 prints of a lock.
LOCKED = b"""unable to create lock in backend: repository is already locked exclusively by PID 47 on a by root (UID 0, GID 0)
lock was created at 2026-11-28 06:54:05 (411.6ms ago)
storage ID 93f66127
the `unlock` command can be used to remove stale locks
"""


class Repository:
    """What restic does, as far as it is asked to. made: whether the repository is there. during: called once in the middle of a backup."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made, self.snapshots = folder, False, list[dict[str, Any]]()
        self.calls: list[list[str]] = []
        self.during: Callable[[], None] | None = None
        self.broken, self.count = "", 0
        self.locked = ""  # "stale" until it is unlocked, or "held" by somebody
        self.properties: list[str] = []
        self.times: dict[str, float] = {}  # how long each command may take

    def __call__(self, _unit: str, properties: Iterator[str], argv: list[str | Path], *, timeout: float, **_how: Any) -> Completed:
        self.properties = list(properties)
        words = [str(each) for each in argv[1:] if not str(each).startswith(("--repo", "--retry-lock", "--option", "--no-cache"))]
        words = words[1:] if words[0].startswith("/") else words
        self.calls.append(words)
        self.times[words[0]] = timeout
        if self.broken and self.broken in words[0]:
            return Completed(1, b"", b"Fatal: wrong password or no key found")
        if not self.made and words[0] != "init":
            return Completed(10, b"", b"Fatal: repository does not exist")
        if self.locked and words[0] != "unlock":
            return Completed(11, b"", LOCKED)
        answer: Completed = getattr(self, f"do_{words[0]}")(words[1:])
        return answer

    def done(self, document: Any = None) -> Completed:
        return Completed(0, json.dumps(document).encode() if document is not None else b"", b"")

    def do_unlock(self, _words: list[str]) -> Completed:
        self.locked = "" if self.locked == "stale" else self.locked
        return self.done()

    def do_cat(self, _words: list[str]) -> Completed:
        return self.done()

    def do_init(self, _words: list[str]) -> Completed:
        self.made = True
        return self.done()

    def do_snapshots(self, _words: list[str]) -> Completed:
        return self.done(self.snapshots)

    def do_backup(self, words: list[str]) -> Completed:
        if self.during:
            during, self.during = self.during, None
            during()
        self.count += 1
        name = hashlib.sha256(str(self.count).encode()).hexdigest()
        for path in map(Path, words[words.index("--") + 1 :]):
            target = self.folder / name / str(path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, target)
        tags = [word.removeprefix("--tag=") for word in words if word.startswith("--tag=")]
        about = {"id": name, "short_id": name[:8], "time": f"2026-11-28T01:00:{len(self.snapshots):02d}.1Z", "hostname": "a", "tags": tags}
        self.snapshots.append(about)
        return self.done({"message_type": "summary", "snapshot_id": name, "data_added": 7})

    def do_restore(self, words: list[str]) -> Completed:
        shutil.copytree(self.folder / words[0], words[1].removeprefix("--target="), dirs_exist_ok=True)
        return self.done()

    def do_forget(self, words: list[str]) -> Completed:
        self.snapshots = [each for each in self.snapshots if not each["id"].startswith(words[0])]
        return self.done()

    def do_prune(self, _words: list[str]) -> Completed:
        return self.done()

    def do_check(self, _words: list[str]) -> Completed:
        return self.done()


class Site:
    """A host with something to back up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, Repository(folder / "repository")
        self.live, state = folder / "live", folder / "state"
        self.staged, self.drill, self.restored = (state / "offsite" / name for name in ("set", "drill", "restored"))
        self.record, self.before = state / "restored.json", state / "restored"
        for name in ("log", "auth"):
            (self.live / name).mkdir(parents=True)
        (self.live / "log/audit.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"torn')
        (self.live / "log/audit.jsonl.1").write_text('{"a": 0}\n')
        (self.live / "auth/tokens.json").write_text("{}")
        self.database = self.live / "state.db"
        with sqlite3.connect(self.database) as connection:
            connection.execute("CREATE TABLE t (x)")
        self.about = Configuration(
            repository=str(folder / "mounted"),
            local=str(folder / "mounted"),
            password=str(folder / "password"),
            environment="",
            options=[],
            append=[str(self.live / "log/gone.jws"), str(self.live / "log/audit.jsonl")],
            archives=[str(self.live / "log/audit.jsonl.*")],
            files=[str(self.live / "auth/*.json")],
            keep={"hourly": 48, "daily": 0},
            check_days=7,
            drill_days=90,
            most=120,
            jwks=str(self.live / "jwks.json"),
            score=1.0,
        )
        (folder / "mounted").mkdir()
        (folder / "password").write_text("x")
        (folder / "password").chmod(0o600)

    def verify(self, _unit: str, _properties: Any, argv: list[Any], **_how: Any) -> Completed:
        found = list(verify.faults(self.about, argv[-2]))
        return Completed(bool(found), json.dumps({"faults": found}).encode(), b"")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path)
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "run")
    monkeypatch.setattr(events, "FOLDER", tmp_path / "events")
    monkeypatch.setattr(events, "TRAIL", tmp_path / "events/trail.jsonl")
    state = tmp_path / "state"
    state.mkdir()
    for name, path in {"FOLDER": state / "offsite", "LAST": state / "offsite/last.json"}.items():
        monkeypatch.setattr(configuration, name, path)
    for module in (operations, placing, check):
        for attribute, place in {"STAGED": made.staged, "DRILL": made.drill, "RESTORED": made.restored, "RECORD": made.record}.items():
            monkeypatch.setattr(module, attribute, place, raising=False)
    monkeypatch.setattr(placing, "BEFORE", made.before)
    monkeypatch.setattr(restic, "in_unit", made.repository)
    monkeypatch.setattr(restic, "SSH_LOG", tmp_path / "ssh.log")
    monkeypatch.setattr(operations, "in_unit", made.verify)
    monkeypatch.setattr(sets, "machine", lambda: "0" * 32)
    monkeypatch.setattr(operations, "_database", lambda: (made.database, lambda path: shutil.copy(made.database, path), "git-1-py3.13"))
    yield made
