# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a candidate over stdio: a real program in the place of its unit, good and bad."""

from __future__ import annotations

import grp
import os
import pwd
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import candidate, migration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, restart, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host

UNHEALTHY = candidate.unhealthy  # the fake host has another in its place
UNIT = """[Unit]
Description=x
[Service]
Type=simple
# A comment.
ExecStart=ROOT/releases/git-1/venv/bin/launch "two words" -m nous serve
ExecStop=-+/usr/local/sbin/nous-vm drain
Slice=nous.slice
User=nous
EnvironmentFile=ROOT/nous.env
WorkingDirectory=-ROOT/releases/git-1/source
ProtectSystem=strict
ProtectControlGroups=strict
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
BindPaths=HOME LOG
[Install]
WantedBy=multi-user.target
"""
# Answers as its first argument says; the second is its audit log.
SERVER = """
import json, sys, time
how, audit = sys.argv[1:]
def answer(number, **fields):
    print(json.dumps({"jsonrpc": "2.0", "id": number, **fields}), flush=True)
print("a library's banner", flush=True)
if how != "no unit":
    print("a complaint\\x1b[31m", file=sys.stderr, flush=True)
if how == "no unit":
    sys.exit("Failed to connect to bus")
if how == "ends":
    sys.exit(1)
if how == "floods":
    while True:
        print("x" * 100000)
for line in sys.stdin:
    asked = json.loads(line)
    method, number = asked["method"], asked.get("id")
    if how == f"hangs at {method}":
        time.sleep(60)
    if how == "stateless" and ("_meta" not in asked["params"] or not asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]):
        answer(number, error={"code": -32601, "message": "Method not found"})
    elif how == "stateless" and method == "server/discover":
        answer(number, result={"resultType": "complete", "supportedVersions": ["2026-07-28"]})
    elif how == f"fails at {method}" or method == "server/discover":
        answer(number, error={"code": -1, "message": "no way"})
    elif method == "initialize":
        answer(7, result={})
        answer(number, result={"protocolVersion": "2025-06-18"})
    elif method == "tools/list":
        answer(number, result={"tools": [] if how == "empty" else [{"name": "other" if how == "lacks" else "device_info"}]})
    elif method == "tools/call":
        if how not in ("silent", "gone"):
            open(audit, "a").write('{"tool": "%s"}\\n' % asked["params"]["name"])
        if how == "gone":
            import os
            os.unlink(audit)
        answer(number, result={"content": [], "isError": how == "errs"})
"""
Rehearse: TypeAlias = "Callable[..., str | None]"


@pytest.fixture
def rehearse(bare: Host, monkeypatch: pytest.MonkeyPatch) -> Rehearse:
    """Rehearse a release that does what its name says; the command that would start its unit is kept in calls."""
    bare.files[0].write_text(UNIT.replace("ROOT", str(bare.root)).replace("HOME", str(bare.folder / "home")).replace("LOG", str(bare.folder / "log")))

    def run(how: str = "good", copy: Callable[[Path], None] | None = None, migration: Iterable[str] = (), **changes: object) -> str | None:
        def transient(unit: str, properties: list[str], argv: list[str]) -> list[str]:
            bare.systemd.calls.append([unit, *properties, *argv])
            return [sys.executable, "-c", SERVER, how, str(bare.root / "candidate/1/audit.jsonl")]

        monkeypatch.setattr(candidate, "transient", transient)
        us = {"user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
        known = bare.service(**us, **changes)
        return UNHEALTHY(known.configuration, NAMES, "git-1", unit=bare.files[0], migration=list(migration), copy=copy)

    return run


def test_a_good_one_passes(bare: Host, rehearse: Rehearse) -> None:
    """On a copy of the database, in the server's own sandbox, with the release's own files; nothing is left of it."""
    copied: list[Path] = []

    def copy(path: Path) -> None:
        copied.append(path)
        path.touch()

    assert rehearse(copy=copy, timeout=20) is None
    assert copied == [bare.root / "candidate/0/state.db"]
    assert not (bare.root / "candidate").exists()
    (call,) = [call for call in bare.systemd.calls if call[0] == NAMES.candidate]
    release = f"{bare.root}/releases/git-1"
    assert call[-5:] == [f"{release}/venv/bin/launch", "two words", "-m", "nous", "serve"]
    assert call[1:-5] == [
        "Slice=nous.slice",
        "User=nous",
        f"EnvironmentFile={bare.root}/nous.env",
        f"WorkingDirectory=-{release}/source",
        "ProtectSystem=strict",
        "ProtectControlGroups=yes",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        f"BindPaths={bare.root}/candidate/0:{bare.folder}/home",
        f"BindPaths={bare.root}/candidate/1:{bare.folder}/log",
        f"EnvironmentFile={bare.root}/candidate/environment",
        "PrivateNetwork=yes",
        "KillSignal=SIGKILL",
        "SuccessExitStatus=SIGKILL",
        "RuntimeMaxSec=20",
    ]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("ends", "it ended before it answered initialize: a complaint"),
        ("fails at initialize", 'it answers initialize with {"code": -1, "message": "no way"}'),
        ("fails at tools/list", "it answers tools/list with"),
        ("empty", "it has no tools"),
        ("fails at tools/call", "it answers tools/call with"),
        ("errs", "its tool device_info fails"),
        ("silent", "it wrote no record of the call of device_info to its audit log"),
        ("gone", "it wrote no record of the call of device_info to its audit log"),
        ("floods", "it prints too much: a complaint"),
    ],
)
def test_one_that_does_not_work_is_found_out(bare: Host, rehearse: Rehearse, how: str, why: str) -> None:
    reason = rehearse(how, timeout=20)
    assert reason is not None
    assert reason.startswith(f"over stdio, {why}")
    assert "\x1b" not in reason
    assert not (bare.root / "candidate").exists()


def test_a_server_of_the_protocol_without_sessions_passes(rehearse: Rehearse) -> None:
    """It knows no initialize, and answers only what says of itself which version of the protocol it is of."""
    assert rehearse("stateless", timeout=20) is None


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
def test_there_is_one_deadline(rehearse: Rehearse, method: str) -> None:
    begun = time.monotonic()
    reason = rehearse(f"hangs at {method}", timeout=1)
    assert re.fullmatch(f"over stdio, it did not answer {method} within 1 s: a complaint.*", str(reason))
    assert time.monotonic() - begun < 10


def test_the_tool_is_the_operator_s(rehearse: Rehearse) -> None:
    assert rehearse("lacks", timeout=20) is None, "a release need not have the default"
    assert rehearse("lacks", timeout=20, health_tool="other") is None
    assert rehearse("lacks", timeout=20, health_tool="device_info") == "over stdio, it has no tool device_info"


def test_a_database_that_is_no_file_here_is_not_used(bare: Host, rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        written.append(content)

    monkeypatch.setattr(candidate, "write", write)
    assert rehearse(timeout=20) is None
    for elsewhere in ("", "/srv/elsewhere.db"):
        assert rehearse(timeout=20, database=elsewhere, copy=lambda _path: pytest.fail("it is copied")) is None
    assert [each for each in written if each] == [b"NOUS_TRANSPORT=stdio\n", *[b"NOUS_TRANSPORT=stdio\nNOUS_DB_URL=\n"] * 2]


def test_an_audit_log_elsewhere_is_not_looked_for(rehearse: Rehearse) -> None:
    assert rehearse("silent", timeout=20, audit="/srv/elsewhere.jsonl") is None


def test_its_migration_comes_first(bare: Host, rehearse: Rehearse) -> None:
    """Of the copy: one that fails is found before any client waits for it."""
    bare.systemd.migration = Completed(1, b"", b"no such column\n")
    assert rehearse(timeout=20, migration=["up"]) == "its migration (up) failed: no such column"
    (call,) = [call for call in bare.systemd.calls if f"--unit={NAMES.migrate}" in call]
    assert f"--property=BindPaths={bare.root}/candidate/0:{bare.folder}/home" in call


def test_a_copy_that_fails_is_no_fault_of_the_release(bare: Host, rehearse: Rehearse) -> None:
    def copy(_path: Path) -> None:
        raise NousVmError("the disk is full")

    with pytest.raises(NousVmError, match="the disk is full"):
        rehearse(copy=copy)
    assert not (bare.root / "candidate").exists()


def test_a_unit_that_cannot_be_started_is_no_fault_of_the_release(rehearse: Rehearse) -> None:
    with pytest.raises(NousVmError, match="cannot be started: Failed to connect to bus"):
        rehearse("no unit", timeout=20)


# When there is one


def test_a_release_that_is_unfit_never_takes_the_server_s_place(host: Host) -> None:
    host.proxy.log.clear()
    host.systemd.calls.clear()
    done = deploy(host.service(), host.build("unfit"), again=False)
    assert (done["reason"], done["rollback"]) == ("over stdio, it has no tools", "good was not stopped")
    assert (host.current(), host.journal()) == ("good", None)
    assert not any(NAMES.server in call and {"stop", "start", "restart"} & {*call} for call in host.systemd.calls)
    assert "disable frontend nous" not in host.proxy.log
    assert "over stdio, it has no tools" in str(deploy(host.service(), "unfit", again=False)["reason"]), "it is marked"


def test_a_first_release_that_is_unfit(bare: Host) -> None:
    assert deploy(bare.service(), bare.build("unfit"), again=False)["rollback"] is None


def test_settings_are_rehearsed_too_and_what_was_good_once_is_not(host: Host) -> None:
    deploy(host.service(), host.build("other"), again=False)
    host.rehearsed.clear()
    restart(host.service())
    roll_back(host.service(), None)
    assert host.rehearsed == []
    host.files[1].write_text("unfit\n")
    assert deploy(host.service(), "good", again=False)["rollback"] == "good was not stopped"
    assert (host.folder / "current/nous.env").read_text() == "good\n"
    assert host.rehearsed == ["good"]


def test_a_fault_of_the_host_marks_no_release(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(candidate, "unhealthy", full)
    assert deploy(host.service(), host.build("other"), again=False)["reason"] == "no space left"
    assert host.service().releases.failed() == {}
    assert host.current() == "good"


def test_only_a_release_that_brings_the_script_is_migrated_by_default(host: Host) -> None:
    known, folder = host.service(migrate=migration.DEFAULT), host.root / "releases" / host.build("other")
    assert migration.command(known.configuration, "other") == []
    (folder / "source/scripts").mkdir(parents=True)
    (folder / "source/scripts/migrate.py").touch()
    assert migration.command(known.configuration, "other") == migration.DEFAULT
    assert migration.command(host.service(migrate=["up"]).configuration, "good") == ["up"]
    assert migration.source(folder) == folder / "source"
