# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on checkpoints: late ones, ones that nobody signed, and a log that is not what was signed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import checkpoint_rows
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.walk import Walk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import render_jwks
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import LOG, Estate, configuration, signer

KEY = signer()
Rows = dict[str, tuple[str, str]]


class Checked(Estate):
    """A host whose checkpoints are checked; ago: seconds since the unit ran, or was started if it runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, KEY)
        self.checkpoints.rename(folder / "checkpoints-x.jws")
        self.checkpoints = folder / "checkpoints-x.jws"
        self.timer, self.result, self.ago, self.runs = "active", "success", 5.0, False
        (folder / "1.pem").touch(0o600)
        (folder / "jwks.json").write_bytes(render_jwks([KEY.jwk]))
        about = {"key": str(folder / "1.pem"), "jwks": str(folder / "jwks.json"), "keep": 90}
        (folder / "x.checkpoints").write_text(json.dumps(about))

    def show(self, unit: str, *_names: str) -> dict[str, str]:
        if unit.endswith(".timer"):
            return {"ActiveState": self.timer}
        started, ended = checkpoint_rows.RAN
        ran = int((time.monotonic() - self.ago) * 1e6)
        return {"Result": self.result, started: str(ran), ended: "0" if self.runs else str(ran + 1)}

    def rows(self) -> Rows:
        config = configuration(self.folder)
        return {row.name: (row.status, row.detail) for row in checkpoint_rows.rows(config)}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    made = Checked(tmp_path)
    monkeypatch.setattr(checkpoint_rows, "FOLDER", tmp_path)
    monkeypatch.setattr(checkpoint_rows, "TRAIL", tmp_path / "trail.jsonl")
    monkeypatch.setattr(checkpoint_rows, "show", made.show)
    monkeypatch.setattr(checkpoint_rows, "permissions", lambda _path, expected: ("ok", expected))
    monkeypatch.setattr(checkpoint_rows, "sandbox", lambda unit, most: Row(f"sandbox of {unit}", "ok", f"{most}"))
    made.write(5)
    made.sign()
    made.write(5)
    made.sign()
    return made


def test_all_is_well(host: Checked) -> None:
    found = host.rows()
    assert {status for status, _detail in found.values()} == {"ok"}
    assert found["checkpoints"][1].startswith("the last is checkpoint 2 of ")
    assert found[f"{LOG} as signed"] == ("ok", "2 checkpoints compared, 0 records are newer")
    host.rotate()
    host.write(2)
    host.sign()
    assert host.rows()[f"{LOG} as signed"] == ("ok", "1 checkpoints compared, 0 records are newer")
    host.rotate()
    assert host.rows()[f"{LOG} as signed"] == ("ok", "no checkpoint is of it yet")


def test_a_rotation_without_checkpoints_has_no_rows(host: Checked) -> None:
    (host.folder / "x.checkpoints").unlink()
    assert host.rows() == {}


def test_what_is_not_signed_in_time(host: Checked) -> None:
    host.ago = 600
    assert host.rows()["checkpoints"][0] == "ok"  # nothing is new
    host.write()
    status, detail = host.rows()["checkpoints"]
    assert (status, detail.endswith(f"for 10 min nothing has signed what {LOG} got since")) == ("fail", True)
    host.ago = 60
    assert host.rows()["checkpoints"][0] == "ok"


@pytest.mark.parametrize(("ago", "status"), [(1, "ok"), (600, "fail")])
def test_the_unit_runs_in_this_moment(host: Checked, ago: float, status: str) -> None:
    """systemd has no time of its end then; for one that hangs, it is late from its start."""
    host.write()
    host.ago, host.runs = ago, True
    assert host.rows()["checkpoints"][0] == status


def test_a_unit_that_fails_and_a_timer_that_is_off(host: Checked) -> None:
    host.result = "exit-code"
    assert host.rows()["checkpoints"][1].endswith("the run after it ended with exit-code: journalctl --unit=audit-checkpoint-x")
    host.timer = "inactive"
    assert host.rows()["checkpoints"][1].endswith("the timer audit-checkpoint-x.timer is inactive")


def test_a_log_that_was_edited(host: Checked) -> None:
    host.edit(LOG, 3, lambda made: made.update(tool="pong"))
    status, detail = host.rows()[f"{LOG} as signed"]
    assert (status, detail.startswith(f"log {LOG}: {LOG}, record 1: from here up to record 5: not what checkpoint 1")) == ("fail", True)
    host.recompute()
    assert host.rows()[f"{LOG} as signed"][0] == "fail"


def test_a_log_that_was_cut(host: Checked) -> None:
    host.put(LOG, host.lines(LOG)[:-1])
    assert host.rows()[f"{LOG} as signed"][0] == "fail"


def test_checkpoints_that_nobody_signed(host: Checked) -> None:
    lines = host.lines(host.checkpoints.name)
    host.put(host.checkpoints.name, [*lines, b"x\n"])
    assert host.rows()["checkpoints"] == ("fail", f"{host.checkpoints}: the last line has a header that is no JSON in base64url")
    host.put(host.checkpoints.name, [])
    assert host.rows()["checkpoints"] == ("fail", f"{host.checkpoints}: there is none")
    host.keys = [signer()]
    host.sign()
    assert "is signed by a key that is not published" in host.rows()["checkpoints"][1]
    host.checkpoints.unlink()
    assert host.rows()["checkpoints"][0] == "fail"


def test_a_log_that_is_too_large_or_is_rotated_meanwhile(host: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Walk.finish

    def rotated(walk: Walk, keep: int | None) -> None:
        finish(walk, keep)
        host.rotate()

    monkeypatch.setattr(Walk, "finish", rotated)
    assert host.rows()[f"{LOG} as signed"] == ("unknown", "it was rotated while it was read")
    monkeypatch.setattr(checkpoint_rows, "LARGEST", 10)
    assert host.rows()[f"{LOG} as signed"][0] == "unknown"
