# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's own checks of a candidate, and the look at whether its calls are recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import audited, check, checks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host

FAULT = audited.fault  # the fake host has another in its place


def add(host: Host, kind: str, name: str, mode: int = 0o755) -> Path:
    path = host.folder / "checks.d" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(mode)
    return path


def test_a_required_check_that_fails_rolls_back(host: Host) -> None:
    add(host, "required", "10-good")
    add(host, "required", "20-bad")
    add(host, "required", ".hidden", 0o644)
    host.systemd.checks["20-bad"] = Completed(3, b"", b"chatter\nno \x1b[31mway\n")
    done = deploy(host.service(), host.build("other"), again=False)
    assert done["reason"] == "the required check 20-bad fails: no \\x1b[31mway"
    assert (done["rollback"], host.current()) == ("good answers again", "good")
    calls = [call for call in host.systemd.calls if f"--unit={NAMES.check}" in call]
    assert [Path(call[-1]).name for call in calls] == ["10-good", "20-bad"]
    assert {
        "--property=DynamicUser=yes",
        "--property=JoinsNamespaceOf=nous.service",
        "--property=PrivateNetwork=yes",
        "--property=CapabilityBoundingSet=",
        "--property=Environment=NOUS_RELEASE=other",
        "--property=RuntimeMaxSec=20",
    } <= {*calls[0]}


def test_a_wanted_check_that_fails_is_reported(host: Host) -> None:
    add(host, "wanted", "bad")
    host.systemd.checks["bad"] = Completed(1, b"no way\n", b"")
    done = deploy(host.service(), host.build("other"), again=False)
    assert (done["reason"], done["warnings"], host.current()) == (None, ["the wanted check bad fails: no way"], "other")
    assert not host.proxy.paused
    path = add(host, "wanted", "worse", 0o777)
    done = deploy(host.service(), host.build("writes"), again=False)
    assert (done["reason"], done["warnings"]) == (None, [f"{path} is no check: it has to be an executable file that root owns and nobody else can change"])


def test_nobody_is_kept_from_rolling_back(host: Host) -> None:
    deploy(host.service(), host.build("other"), again=False)
    add(host, "required", "bad")
    host.systemd.checks["bad"] = Completed(1, b"", b"no way\n")
    assert roll_back(host.service(), None)["reason"] is None
    assert host.current() == "good"


@pytest.mark.parametrize("how", ["others write", "not executable", "link", "FIFO", "somebody's", "folder of somebody's"])
def test_a_check_that_is_none_is_found_before_anything_is_touched(host: Host, how: str) -> None:
    path = add(host, "required", "bad", {"others write": 0o757, "not executable": 0o644}.get(how, 0o755))
    if how == "link":
        path.unlink()
        path.symlink_to("/bin/true")
    elif how == "FIFO":
        path.unlink()
        os.mkfifo(path, 0o755)
    elif how == "somebody's":
        os.chown(path, 1, 1)
    elif how == "folder of somebody's":
        path.parent.chmod(0o777)
    host.systemd.calls.clear()
    done = deploy(host.service(), host.build("other"), again=False)
    assert "is no check: it has to be an executable file that root owns and nobody else can change" in done["reason"]
    assert host.current() == "good"
    assert not any(NAMES.server in call and {"stop", "start", "restart"} & {*call} for call in host.systemd.calls)
    assert host.service().releases.failed() == {}, "it is no fault of the release"


def test_checks_have_a_limit_together(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    add(host, "wanted", "one")
    monkeypatch.setattr(checks, "TOGETHER", 0.0)
    assert checks.warnings(host.configuration() if host.path.exists() else host.service().configuration, NAMES, "good") == [
        "the wanted check one was not run: those before it took 0 s"
    ]


# The audit log


def test_a_candidate_whose_calls_would_not_be_recorded_is_rolled_back(host: Host) -> None:
    host.unseen = "the server may not write to its audit log"
    assert deploy(host.service(), host.build("other"), again=False)["reason"] == host.unseen
    row = check.audit_log(host.service())
    assert (row.status, row.detail) == ("fail", host.unseen)


def test_the_row_tells_when_it_was_written_last(host: Host) -> None:
    known = host.service()
    path = known.configuration.audit
    path.touch()
    assert check.audit_log(known).detail.endswith(" UTC")
    os.utime(path, (1, 1))
    row = check.audit_log(known)
    assert (row.status, row.detail) == ("ok", "the server can append to it; last written 1970-01-01 00:00:01 UTC")


def test_what_the_server_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    assert FAULT(os.getpid(), path) is None, "root may"
    os.chown(path, 1001, 1002)
    monkeypatch.setattr(audited, "read_file", lambda _path: b"Name:\tx\nUid:\t5 1001 5 5\nGid:\t6 7 6 6\nGroups:\t1002 \n")
    for mode, may in ((0o600, True), (0o060, False)):
        path.chmod(mode)
        assert (FAULT(os.getpid(), path) is None) == may, oct(mode)
    os.chown(path, 1003, 1002)
    for mode, may in ((0o020, True), (0o602, False)):
        path.chmod(mode)
        assert (FAULT(os.getpid(), path) is None) == may, oct(mode)
    os.chown(path, 1003, 1004)
    path.chmod(0o660)
    assert FAULT(os.getpid(), path) == f"the server may not write to its audit log {path}"


def test_what_the_server_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    assert "does not see its audit log" in str(FAULT(os.getpid(), path))
    path.touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _path: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 0)))
        assert "on a read-only file system" in str(FAULT(os.getpid(), path))
    another = tmp_path / "another"
    another.touch()
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda each: lstat(another if str(each).startswith("/proc") else each))
    assert "sees another file" in str(FAULT(os.getpid(), path))
