# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on backups off the host, its configuration and its commands."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite import check, configuration, operations, placing, verify
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite.commands import backup_drill, backup_list, backup_offsite, backup_verify, restore_host

from .conftest import Site

DAY = 86400


@pytest.fixture
def rows(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(check, "load", lambda: site.about)
    monkeypatch.setattr(check, "sandbox", lambda unit, most: Row(f"sandbox of {unit}", "ok", f"at most {most}"))
    monkeypatch.setattr(check, "show", lambda *_names: {"ActiveState": "active", "UnitFileState": "enabled", "NextElapseUSecRealtime": "soon"})
    return site


def found() -> dict[str, tuple[str, str]]:
    return {row.name: (row.status, row.detail) for row in check.check()}


def test_before_the_first(rows: Site) -> None:
    assert {name: status for name, (status, _detail) in found().items() if status != "ok"} == {"backup": "warn", "repository": "warn", "drill": "warn"}
    configuration.remember("failure", {"at": 0.0, "why": "wrong password"})
    assert found()["backup"][0] == "fail"
    assert "wrong password" in found()["backup"][1]


def test_after_it(rows: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    operations.back_up(rows.about)
    operations.drill(rows.about)
    assert {status for status, _detail in found().values()} == {"ok"}
    now = time.time()
    monkeypatch.setattr(check.time, "time", lambda: now + 121 * 60)  # type: ignore[attr-defined]
    assert found()["backup"][0] == "fail"
    monkeypatch.setattr(check.time, "time", lambda: now + 91 * DAY)  # type: ignore[attr-defined]
    assert (found()["drill"][0], found()["repository"][0]) == ("warn", "warn")
    configuration.remember("drill", {"at": now, "ok": False, "why": "damaged"})
    assert found()["drill"][0] == "fail"


def test_a_host_that_was_restored(rows: Site) -> None:
    rows.record.write_text(json.dumps({"at": time.time(), "of": 0.0, "host": "old", "machine": "abc"}))
    assert found()["restored"][0] == "warn"
    assert "of old (machine abc); that host has to stay off" in found()["restored"][1]


def test_configuration(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "offsite.json"
    path.write_text(json.dumps(site.about._asdict()))
    assert configuration.load(path) == site.about
    path.write_text("{}")
    with pytest.raises(UsageError, match="cannot be used"):
        configuration.load(path)


def test_commands(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "load", lambda: site.about)
    nothing = argparse.Namespace()
    assert backup_list.run(nothing).text == "there is none" if site.repository.made else True
    assert "bytes more" in backup_offsite.run(nothing).text
    assert len(backup_list.run(nothing).document["snapshots"]) == 1
    assert backup_drill.run(nothing).code == 0
    operations.fetch(site.about, site.drill)
    parser = argparse.ArgumentParser()
    backup_verify.arguments(parser)
    assert backup_verify.run(parser.parse_args([str(site.drill)])).code == 0
    monkeypatch.setattr(verify, "faults", lambda *_about: iter(["damaged"]))
    assert backup_verify.run(parser.parse_args([str(site.drill)])).code == 1
    assert (backup_drill.run(nothing).code, backup_drill.run(nothing).document["message"]) == (1, "the set is damaged: damaged")
    parser = argparse.ArgumentParser()
    restore_host.arguments(parser)
    monkeypatch.setattr(placing, "restore", lambda _about, snapshot: {"host": "a", "machine": "b", "snapshot": snapshot, "seconds": 1})
    assert "restored from a (machine b), snapshot latest" in restore_host.run(parser.parse_args([])).text
