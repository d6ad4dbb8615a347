# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on logs and their rotation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import check, configuration, guard
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.cgroups import Running
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.processes import Process, cgroup_of
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place

TIMER = {"ActiveState": "active", "NextElapseUSecRealtime": "Sat 2026-11-28 00:00:00 UTC", "LastTriggerUSec": ""}
SERVICE = {"ActiveState": "inactive", "Result": "success", "ExecMainExitTimestamp": "Fri 2026-11-27 00:00:09 UTC"}


@pytest.fixture
def units(place: Place, monkeypatch: pytest.MonkeyPatch) -> dict[str, Running]:
    """The units that run; a test adds some."""
    running: dict[str, Running] = {}
    place.configure(units=["w.service"])
    monkeypatch.setattr(configuration, "FOLDER", place.directory)
    monkeypatch.setattr(check, "running", lambda _units: running)
    monkeypatch.setattr(check, "of_units", lambda _units: {unit: one.cgroup for unit, one in running.items()})
    monkeypatch.setattr(check, "frozen", lambda _cgroups: [])
    monkeypatch.setattr(check, "sandbox", lambda unit, most: Row(f"sandbox of {unit}", "ok", f"at most {most}"))
    monkeypatch.setattr(check, "show", lambda unit, *_names: TIMER if unit.endswith(".timer") else SERVICE)
    place.write(LINES)
    return running


def rows() -> dict[str, tuple[str, str]]:
    return {row.name: (row.status, row.detail) for row in check.check()}


def test_all_is_well(place: Place, units: dict[str, Running]) -> None:
    found = rows()
    assert [name for name, (status, _detail) in found.items() if status != "ok"] == ["service holds its log (x)"]
    assert found["log append-only (x)"] == ("ok", f"{place.log} can grow")
    assert found["log owner and mode (x)"] == ("ok", "0600 root:root")
    assert found["log writers append (x)"] == ("ok", "0 hold it open, with O_APPEND")
    assert found["rotation timer (x)"] == ("ok", "active, next Sat 2026-11-28 00:00:00 UTC")
    assert found["last rotation (x)"] == ("ok", "success, Fri 2026-11-27 00:00:09 UTC")
    assert found["archives (x)"] == ("ok", "0 immutable")
    assert found["rotation complete (x)"] == ("ok", "nothing is left over")
    assert [name for name in found if name.startswith("sandbox")] == [f"sandbox of audit-logrotate-x{each}.service" for each in ("", "-recover")]


def test_what_is_wrong_with_the_log_and_its_archives(place: Place, units: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    place.configure(units=[])  # there is no systemd to ask
    place.killed_within_the_cut()
    place.configure(units=["w.service"], anchors=["anchors"])
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.chmod(0o666)
    (place.directory / "log.1").write_bytes(b"x")
    monkeypatch.setattr(check, "frozen", lambda _cgroups: ["w.service"])
    found = rows()
    assert found["log append-only (x)"] == ("fail", f"{place.log} could do more than grow")
    assert found["log owner and mode (x)"] == ("fail", "0666 root:root instead of 0600 root:root")
    assert found["anchors (x)"] == ("fail", f"{place.directory}/anchors does not exist")
    assert found["archives (x)"] == ("fail", "not immutable: log.1")
    assert found["rotation complete (x)"] == ("fail", f"left over: {place.journal}, {place.aside}/log.partial, w.service is frozen")


def test_a_rotation_that_failed_and_a_timer_that_is_off(units: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    timer, service = {"ActiveState": "inactive", "LastTriggerUSec": "Thu"}, {"Result": "exit-code", "ActiveState": "failed"}
    monkeypatch.setattr(check, "show", lambda unit, *_names: timer if unit.endswith(".timer") else service)
    found = rows()
    assert found["rotation timer (x)"] == ("fail", "inactive, next never")
    assert found["last rotation (x)"] == ("fail", "exit-code, Thu; the reason is in journalctl --unit=audit-logrotate-x")


def test_a_rotation_that_runs_says_nothing_of_the_archives(units: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "show", lambda _unit, *_names: {"ActiveState": "activating", "Result": "success"})
    found = rows()
    assert found["archives (x)"] == ("unknown", "a rotation is running")
    assert "rotation complete (x)" not in found


class TestGuard:
    @pytest.fixture
    def runtime(self, place: Place, units: object, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path_factory.mktemp("run")
        monkeypatch.setattr(guard, "RUNTIME", folder)
        monkeypatch.setattr(pause, "UNAUDITED", folder / "unaudited.json")
        monkeypatch.setattr(check, "show", lambda unit, *_names: TIMER if unit.endswith((".timer", "-guard.service", "-watch.service")) else SERVICE)
        place.configure(guard="enforce")
        return folder

    def test_all_is_well(self, runtime: Path) -> None:
        assert rows()["answers are recorded (x)"] == ("unknown", "the guard has not looked yet")
        (runtime / "audit-x.json").write_text(json.dumps({"faults": {}, "rejects": False, "calls": 0}))
        found = rows()
        assert found["guard (x)"] == ("ok", "it runs, enforce")
        assert found["answers are recorded (x)"] == (
            "ok",
            "each record links to the one before, and there is room for the next on a disk without errors",
        )
        assert len([name for name in found if name.startswith("sandbox")]) == 5

    def test_what_it_sees(self, place: Place, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (runtime / "audit-x.json").write_text(json.dumps({"faults": {"room": "no room", "flag": "no flag"}, "rejects": True}))
        assert rows()["answers are recorded (x)"] == ("fail", "no room; no flag; traffic is rejected")
        place.configure(guard="warn")
        (runtime / "audit-x.json").write_text(json.dumps({"faults": {"room": "no room"}, "rejects": False}))
        assert rows()["answers are recorded (x)"] == ("warn", "no room")
        monkeypatch.setattr(check, "show", lambda *_names: SERVICE)
        assert rows()["guard (x)"] == ("fail", "audit-logrotate-x-guard.service, audit-logrotate-x-watch.service does not run")
        assert rows()["answers are recorded (x)"] == ("unknown", "the guard does not run")

    def test_an_operator_broke_the_glass(self, runtime: Path) -> None:
        (runtime / "unaudited.json").write_text(json.dumps({"why": "it is urgent (alice)", "until": 4e9}))
        status, detail = rows()["no answer without a record (x)"]
        assert status == "fail"
        assert detail.endswith(" UTC: it is urgent (alice)")


class TestService:
    """Whether it writes to its log, and not past it."""

    def test_it_does_not_run(self, place: Place, units: dict[str, Running]) -> None:
        assert rows()["service holds its log (x)"] == ("unknown", "none of w.service runs")
        units["w.service"] = Running("/w", "activating")
        assert rows()["service holds its log (x)"][0] == "unknown"
        place.configure(units=[])
        assert rows()["service holds its log (x)"] == ("unknown", "none of no units runs")

    @pytest.mark.parametrize(
        ("calls", "status", "why"),
        [
            (None, "unknown", "it may open it at its first record, and nobody here counts whether it was called"),
            (0, "ok", "it opens it at its first record, and no call was answered that would be one"),
            (3, "warn", "3 calls were answered since the last record; one that the server declines has none"),
        ],
    )
    def test_it_has_not_written_yet(
        self, place: Place, units: dict[str, Running], calls: int | None, status: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        units["w.service"] = Running("/w", "active")
        monkeypatch.setattr(guard, "RUNTIME", tmp_path / "run")
        (tmp_path / "run").mkdir()
        guard.state_file("x").write_text(json.dumps({"calls": calls}))
        assert rows()["service holds its log (x)"] == (status, f"w.service runs and does not hold {place.log} open: {why}")

    @pytest.mark.parametrize("appends", [True, False])
    def test_it_holds_the_log(self, place: Place, units: dict[str, Running], appends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        with open(place.log, "ab") as log, subprocess.Popen(["sleep", "60"], stdout=log) as child:
            log.close()
            cgroup = cgroup_of(child.pid)
            units["w.service"] = Running(cgroup, "active")
            monkeypatch.setattr(check, "writers", lambda _path: [Process(child.pid, "sleep", cgroup, appends), Process(1, "other", "/elsewhere", appends)])
            found = rows()
            child.kill()
        who = f"sleep (pid {child.pid})"
        held = ("ok", "w.service holds it open, and can do nothing but append")
        bad = ("fail", f"held open without O_APPEND, or mapped into memory: {place.log} by {who}")
        assert found["service holds its log (x)"] == (held if appends else bad)
        assert found["log writers append (x)"] == (("ok", "2 hold it open, with O_APPEND") if appends else ("fail", f"{who}, other (pid 1)"))
