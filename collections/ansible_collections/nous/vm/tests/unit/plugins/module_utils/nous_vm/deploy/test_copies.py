# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the database, as the server's account makes them."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.backups import Backups
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.copies import copy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host


def database(path: Path, text: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(f"PRAGMA journal_mode = WAL; CREATE TABLE notes (text); INSERT INTO notes VALUES ('{text}')")


def notes(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as opened:
        return [text for (text,) in opened.execute("SELECT text FROM notes")]


def test_out_and_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    database(source, "kept")
    (tmp_path / ".backup-left").mkdir()
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    copy("out", str(source))
    assert not list(tmp_path.glob(".backup-*")), "what was interrupted is removed, and nothing is left"
    database(target, "lost")
    target.chmod(0o640)
    (tmp_path / "target.db-wal").write_bytes(b"poison")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(out.getvalue())))
    copy("in", str(target))
    assert notes(target) == ["kept"]
    assert target.stat().st_mode & 0o777 == 0o640
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(out.getvalue())))
    copy("in", str(tmp_path / "new.db"))
    assert notes(tmp_path / "new.db") == ["kept"]


def test_a_database_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "source.db"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript("CREATE TABLE t (x); CREATE INDEX i ON t (x);")
        made.executemany("INSERT INTO t VALUES (?)", [[f"{number:0100}"] for number in range(400)])
        made.commit()
    content = bytearray(path.read_bytes())
    content[-3000:-2000] = bytes(1000)
    path.write_bytes(content)
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=io.BytesIO()))
    with pytest.raises(SystemExit, match="is damaged: "):
        copy("out", str(path))


def test_there_is_no_database(host: Host) -> None:
    backups = Backups(host.service(database="").configuration, NAMES)
    assert backups.lack_of_space() is None
    with pytest.raises(NousVmError, match="no database file"):
        backups.create("good", "requested")
    (host.root / "backups/.x.partial").mkdir()
    names = [host.service().backups.create("good", "requested") for _time in range(2)]
    assert len({*names}) == 2, "two of one second have two names"
    assert list(host.service().backups.complete()) == names


def test_old_releases_stay_while_another_is_built(host: Host) -> None:
    host.build("half")
    with locks.held("build", "a test"):
        host.service().releases.prune("good")
    assert "half" in host.service().releases.built()
