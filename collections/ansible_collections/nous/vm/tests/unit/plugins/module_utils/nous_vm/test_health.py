# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check: a part that breaks, hangs, dies or floods is a row that failed, and costs no other part its rows."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import health
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Check, Finding, Row, run_parts
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import run

LIMIT = 0.5  # seconds that a part gets which hangs
SOON = 20.0
OK = Row("one", "ok", "fine")


def good() -> Iterator[Row]:
    yield OK


def findings(*checks: Check, limit: float = LIMIT) -> list[Finding]:
    """Run these parts, called a, b, c, ..., and last one that is well."""
    began = time.monotonic()
    found = run_parts({chr(ord("a") + number): check for number, check in enumerate([*checks, good])}, limit)
    assert time.monotonic() - began < SOON
    assert found[-1] == Finding(chr(ord("a") + len(checks)), *OK)
    assert children() == []
    return found[:-1]


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()


def gone(pid: str) -> bool:
    """Tell whether a process ends soon; a signal takes a moment to arrive."""
    deadline = time.monotonic() + SOON
    with contextlib.suppress(FileNotFoundError):
        while "zombie" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    return True


def test_rows_of_parts() -> None:
    def check() -> Iterator[Row]:
        yield OK
        yield Row("two\x1b[31m", "warn", "a\u202eb\nc")

    assert findings(check) == [Finding("a", *OK), Finding("a", "two\\x1b[31m", "warn", "a\\u202eb c")]
    assert run_parts({}) == []


def test_one_that_breaks() -> None:
    def check() -> Iterator[Row]:
        yield OK
        raise KeyError("x\x1b")

    assert findings(check) == [Finding("a", *OK), Finding("a", "check", "fail", "the check broke: KeyError: 'x\\x1b'")]


def test_one_with_a_status_that_is_none() -> None:
    def check() -> Iterator[Row]:
        yield Row("one", "good", "")

    assert findings(check) == [Finding("a", "check", "fail", "the check broke: ValueError: row 'one' has the status 'good'")]


def test_some_that_hang(tmp_path: Path) -> None:
    """Side by side: all of them together get no more time than one."""
    os.mkfifo(tmp_path / "fifo")

    def before() -> Iterator[Row]:
        yield Row("never", "ok", (tmp_path / "fifo").read_text(encoding="utf-8"))

    def after() -> Iterator[Row]:
        yield OK
        time.sleep(60)

    def deaf() -> Iterator[Row]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        yield OK
        while True:
            time.sleep(60)

    late = "the check did not end within 0.5 s; it hung"
    assert findings(before, after, deaf) == [
        Finding("a", "check", "fail", f"{late} before its first row"),
        *(Finding("b", *OK), Finding("b", "check", "fail", f"{late} after the row one")),
        *(Finding("c", *OK), Finding("c", "check", "fail", f"{late} after the row one")),
    ]


def test_the_programs_of_one_that_hangs_are_ended(tmp_path: Path) -> None:
    """They have sessions of their own, so that a signal to the part's group does not reach them."""

    def check() -> Iterator[Row]:
        run(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"], timeout=60)
        yield OK

    findings(check)
    assert gone((tmp_path / "pid").read_text(encoding="utf-8").strip())


def test_what_one_left_in_the_background_is_ended(tmp_path: Path) -> None:
    """It may even hold the pipe that the rows come from; then the part did not end."""

    def check() -> Iterator[Row]:
        with contextlib.suppress(OSError):
            (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "60"]).pid), encoding="utf-8")
        yield OK

    assert findings(check) == [Finding("a", *OK)]
    assert gone((tmp_path / "pid").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("code", "shown"), [(signal.SIGKILL, "-9"), (signal.SIGUSR1, "-10")])
def test_one_that_dies_is_no_healthy_one(code: int, shown: str) -> None:
    """As one that the kernel ends because it took all memory."""

    def check() -> Iterator[Row]:
        yield OK
        os.kill(os.getpid(), code)

    assert findings(check, limit=SOON) == [Finding("a", *OK), Finding("a", "check", "fail", f"the check died after the row one (exit code {shown})")]


def test_one_that_exits_is_no_healthy_one() -> None:
    def check() -> Iterator[Row]:
        if OK:
            os._exit(0)
        yield OK

    assert findings(check, limit=SOON) == [Finding("a", "check", "fail", "the check died before its first row (exit code 0)")]


def test_one_that_floods_keeps_its_rows() -> None:
    def check() -> Iterator[Row]:
        while True:
            yield Row("one", "ok", "x" * 400)

    found = findings(check, limit=SOON)
    assert found[0] == Finding("a", "one", "ok", "x" * 400)
    assert found[-1] == Finding("a", "check", "fail", "the check gave more than 1048576 bytes of rows")
    assert 2000 < len(found) < 3000


def test_what_a_part_prints_is_not_in_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    def check() -> Iterator[Row]:
        os.write(1, b"noise")
        yield OK

    assert findings(check) == [Finding("a", *OK)]
    assert capfd.readouterr().out == ""


def test_an_interruption_leaves_no_process() -> None:
    def check() -> Iterator[Row]:
        time.sleep(60)
        yield OK

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            run_parts({"a": check, "b": check}, 60)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert children() == []


def test_a_process_that_is_gone_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    part = health._Part("a", good)
    while part.read():
        pass
    os.waitid(os.P_PID, part.pid, os.WEXITED | os.WNOWAIT)
    part.ended = False
    part.stop()
    part.end()
    assert part.rows(1)[0] == OK


# ---- Which parts there are


def test_the_parts_whose_role_was_applied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "nous_vm"
    for name in ("audit", "deploy", "gateway", "names"):
        (package / name).mkdir(parents=True)
        (package / name / ("check.py" if name != "names" else "other.py")).touch()
    configuration = tmp_path / "etc"
    (configuration / "audit").mkdir(parents=True)
    (configuration / "deploy.json").touch()
    (configuration / "names.json").touch()
    monkeypatch.setattr(health, "__file__", str(package / "health.py"))
    monkeypatch.setattr(health, "CONFIGURATION", configuration)
    asked: list[str] = []

    class Module:
        check = staticmethod(good)

    def load(name: str, _package: str) -> type[Module]:
        asked.append(name)
        return Module

    monkeypatch.setattr(importlib, "import_module", load)
    found = health.parts()
    assert list(found) == ["audit", "deploy"]
    assert (list(found["deploy"]()), asked) == ([OK], [".audit.check", ".deploy.check", ".deploy.check"])


# ---- How rows are shown


FOUND = [Finding("key", "signing key", "ok", "fine"), Finding("deploy", "service", "fail", "inactive")]


def test_table() -> None:
    assert health.table(FOUND, colour=False).splitlines() == ["key     signing key  ok    fine", "deploy  service      fail  inactive"]
    assert health.table(FOUND, colour=True).splitlines()[1] == "deploy  service      \033[31mfail\033[0m  inactive"
    assert health.table([], colour=False) == ""


def test_document() -> None:
    rows = [row._asdict() for row in FOUND]
    assert health.document(FOUND) == {"healthy": False, "rows": rows, "message": "not in the expected state: deploy: service: inactive"}
    assert health.document(FOUND[:1]) == {"healthy": True, "rows": rows[:1]}
    assert health.document([Finding("a", "b", "warn", ""), Finding("a", "c", "unknown", "")])["healthy"] is True
    json.dumps(health.document(FOUND))


# ---- Rows that several parts have


@pytest.mark.parametrize(
    ("score", "status"),
    [(0.4, "ok"), (9.6, "fail"), (None, "unknown")],
)
def test_sandbox(monkeypatch: pytest.MonkeyPatch, score: float | None, status: str) -> None:
    monkeypatch.setattr(health, "score", lambda _unit: score)
    row = health.sandbox("x.service", 0.5)
    assert (row.name, row.status) == ("sandbox of x.service", status)
    assert row.detail.endswith("by systemd-analyze security, at most 0.5")


def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert health.permissions(path, "0640 root:root") == ("fail", "absent instead of 0640 root:root")
    path.touch()
    path.chmod(0o640)
    me = f"{path.owner()}:{path.group()}"
    assert health.permissions(path, f"0640 {me}") == ("ok", f"0640 {me}")
    assert health.permissions(path, f"0640 {os.getuid()}:{os.getgid()}") == ("ok", f"0640 {os.getuid()}:{os.getgid()}")
    assert health.permissions(path, f"0600 {me}") == ("fail", f"0640 {me} instead of 0600 {me}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_permissions_of_an_account_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    os.chown(path, 54321, 54321)
    assert health.permissions(path, "0600 root:root") == ("fail", "0600 54321:54321 instead of 0600 root:root")


@pytest.mark.parametrize(
    ("state", "statuses"),
    [
        ({"ActiveState": "active", "SubState": "running", "ActiveEnterTimestamp": "now", "UnitFileState": "enabled", "NRestarts": "0"}, ["ok", "ok", "ok"]),
        ({"ActiveState": "failed", "SubState": "failed", "UnitFileState": "disabled", "NRestarts": "3"}, ["fail", "fail", "fail"]),
        ({"ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "1"}, ["ok", "ok", "warn"]),
        ({}, ["fail", "fail", "ok"]),
    ],
)
def test_unit_rows(state: dict[str, str], statuses: list[str]) -> None:
    rows = list(health.unit_rows(state))
    assert [row.name for row in rows] == ["service", "starts at boot", "crashes"]
    assert [row.status for row in rows] == statuses


def test_no_part_looks_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a tenth of what a check takes, every five minutes."""
    monkeypatch.setattr(health, "applied", lambda _module: [])

    def check() -> Iterator[Row]:
        yield Row("garbage", "fail" if gc.isenabled() else "ok", "")

    assert health.parts() == {}
    assert [row.status for row in health.run_parts({"a": check})] == ["ok"]
