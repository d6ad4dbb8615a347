# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands: what they print, with which exit code, and what they leave to whom."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration as BuildConfiguration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import commands as folder
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import facts, newest, origin, traffic, transient
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import backup, drain, recover, releases, releases_show, restart, restore, rollback
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import deploy as deploy_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import pause as pause_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import resume as resume_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import traffic as traffic_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import names
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host

MODULES = (backup, deploy_command, recover, releases, releases_show, restart, restore, rollback)


class Done(NamedTuple):
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell:
    """The host, and nous-vm on it; what runs in a unit of its own runs here at once."""

    def __init__(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        self.host, self.capsys, self.changes = host, capsys, dict[str, Any]()
        self.after = Completed(0, json.dumps({"changed": False}).encode(), b"")
        host.systemd.unit = self.unit

    def __call__(self, *words: str) -> Done:
        self.capsys.readouterr()
        code = cli.main(list(words))
        return Done(code, *self.capsys.readouterr())

    def unit(self, argv: list[str]) -> Completed:
        words = argv[argv.index("/usr/local/sbin/nous-vm") + 1 :]
        done = self(*words)
        return Completed(done.code, done.out.encode() + self.after.stdout, done.err.encode())


@pytest.fixture
def shell(host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    made = Shell(host, capsys)
    for module in MODULES:
        monkeypatch.setattr(module, "service", lambda: host.service(**made.changes))
    monkeypatch.setattr(transient, "run", lambda argv, **_options: made.unit([str(each) for each in argv]))
    known = names()._replace(proxy_admin=host.proxy.path)
    for module in (pause_command, resume_command, traffic_command):
        monkeypatch.setattr(module, "names", lambda: known)
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.names.names", lambda: known)
    yield made


def test_deploy(shell: Shell, host: Host) -> None:
    host.build("other")
    would = shell("deploy", "other", "--check")
    assert (would.code, would.out) == (0, "would switch, start\n")
    assert host.current() == "good"
    done = shell("deploy", "other")
    assert (done.code, done.out) == (0, "other is deployed\n")
    assert host.current() == "other"
    assert host.events == [("deployed", "done")]
    assert shell("deploy", "other", "--check").out == "other is deployed\n"
    again = shell("deploy", "current", "--json")
    assert (again.code, again.document["changed"], again.document["release"]) == (0, False, "other")


def test_deploy_that_fails(shell: Shell, host: Host) -> None:
    host.build("crash")
    done = shell("deploy", "crash", "--json")
    assert done.code == 1
    sentence = "crash is not deployed: nous.service crashes; good answers again. Last lines of its journal: a line of the journal"
    assert done.document["message"] == sentence
    assert host.events == [("deployed", "failed")]
    known = shell("deploy", "crash", "--check", "--json")
    assert (known.code, "it failed: with these settings" in known.document["message"]) == (1, True)
    assert shell("deploy", "crash", "--again", "--as-built").code == 1
    assert shell("releases").out.splitlines()[:2] == ["crash  failed: nous.service crashes", "good  current, known good"]


class Builds:
    """What was asked of the build, in the place of one."""

    def __init__(self, host: Host) -> None:
        self.host, self.asked = host, list[tuple[str, str, bool]]()
        self.answer: dict[str, Any] = {"reason": None}
        source = {"kind": "git", "url": "https://x", "ref": "main", "description": "the source of git-1-py3.13"}
        self.configuration = BuildConfiguration("git-1-py3.13", host.root, "python3", "uv", {}, "", 64, "warn", source)

    def __call__(self, configuration: BuildConfiguration, name: str, again: bool = False) -> dict[str, Any]:
        self.asked.append((name, str(configuration.source.get("ref")), again))
        if not self.answer["reason"] and not (self.host.root / "releases" / name).exists():
            self.host.build(name)
        return self.answer


@pytest.fixture
def builds(host: Host, monkeypatch: pytest.MonkeyPatch) -> Builds:
    made = Builds(host)
    monkeypatch.setattr(origin, "load", lambda: made.configuration)
    monkeypatch.setattr(origin, "build", made)
    return made


def test_deploy_builds_what_is_not_built(shell: Shell, host: Host, builds: Builds) -> None:
    builds.answer = {"reason": "no such source"}
    failed = shell("deploy", "git-1-py3.13", "--json")
    assert failed.document["message"].startswith("git-1-py3.13 is not deployed: no such source; the server that runs was not touched")
    builds.answer = {"reason": None}
    assert shell("deploy", "git-1-py3.13").code == 0
    assert builds.asked == [("git-1-py3.13", "main", False)] * 2
    (host.root / "releases/good/venv/bin/python").unlink()
    assert "good cannot run" in shell("deploy", "good", "--json").document["message"]


def test_again_builds_again(shell: Shell, host: Host, builds: Builds) -> None:
    """What runs too, which is then tried as if it had never answered; another commit of the same source by its record."""
    name = host.build("git-1-py3.13")
    assert shell("deploy", name).code == 0
    host.rehearsed.clear()
    assert shell("deploy", name, "--again", "--check").out == "would build, start\n"
    assert (shell("deploy", "current", "--again", "--json").document["actions"], host.rehearsed) == (["build", "start"], [name])
    record = host.root / "releases" / host.build("git-2-py3.13") / "release.json"
    record.write_text(record.read_text().replace("the source of git-2", "the source of git-1"))
    assert shell("deploy", "git-2-py3.13", "--again").code == 0
    assert builds.asked == [(name, "main", True), ("git-2-py3.13", "git-2-py3.13", True)]
    builds.answer = {"reason": "nobody answers"}
    assert "is not deployed: nobody answers; the server that runs was not touched" in shell("deploy", name, "--again").out
    assert shell("deploy", name, "--again", "--as-built").code == 0
    assert shell("deploy", name, "--as-built").code == 2


def test_again_says_what_cannot_be_built_again(shell: Shell, host: Host, builds: Builds) -> None:
    """Its source is another, or gone: it is deployed as it was built, and that is printed."""
    host.build("other")
    why = "other is not built anew: /etc/nous-vm/build.json is for git-1-py3.13, not for other"
    assert shell("deploy", "other", "--again").out == f"other is deployed\n{why}\n"
    assert shell("deploy", "other", "--again", "--json").document["warnings"] == [why]
    archive = {"kind": "archive", "archive": str(host.folder / "gone.tar.gz"), "description": "x"}
    builds.configuration = builds.configuration._replace(release="other", source=archive)
    assert "the archive that other is made of is not on this host" in shell("deploy", "other", "--again").out
    assert builds.asked == []


def test_deploy_mends_what_is_little(shell: Shell, host: Host) -> None:
    host.systemd.reload = "yes"
    wants = host.units / "multi-user.target.wants" / NAMES.server
    wants.unlink()
    assert shell("deploy", "good", "--json").document["actions"] == ["reload", "enable"]
    assert (host.systemd.reload, wants.readlink()) == ("no", host.units / NAMES.server)
    traffic.hold(shell.host.service().proxy, traffic.DEPLOYMENT, "left")
    assert shell("deploy", "good", "--json").document["actions"] == ["resume"]
    assert not host.proxy.paused


def test_deploy_without_a_backup_is_loud(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.build("other")
    complaints: list[str] = []
    monkeypatch.setattr(deploy_command, "complain", complaints.append)
    done = shell("deploy", "other", "--without-backup")
    assert (done.code, done.out) == (0, "other is deployed WITHOUT a backup of the database\n")
    assert complaints == [f"nous-vm deploy: no backup of {host.database} is made; a rollback leaves the data as they are then"]
    assert host.events == [("backup omitted", "done"), ("deployed", "done")]
    assert host.service().backups.complete() == {}
    for wrong in (["--newest"], ["good", "--check"]):
        assert shell("deploy", *wrong, "--without-backup").code == 2


def test_the_call_is_wrong(shell: Shell, host: Host) -> None:
    for words in (["deploy"], ["deploy", "x", "--newest"]):
        assert shell(*words).code == 2
    wrong = shell("rollback", "other")
    assert (wrong.code, wrong.err) == (2, "nous-vm rollback: other is not built; built: good\n")
    assert shell("restore", "x", "--json").document["message"] == "there is no backup x; there are: none"


def test_rollback_restore_restart_and_backup(shell: Shell, host: Host) -> None:
    host.build("other")
    shell("deploy", "other")
    name = shell("backup", "--json").document["backup"]
    assert shell("rollback").out == "good is deployed again, after other\n"
    assert shell("rollback", "other").code == 0
    assert shell("restore", name).out == f"other is deployed, with {name}\n"
    assert shell("restart").out == "other was restarted\n"
    host.systemd.order("stop", NAMES.server)
    assert shell("restart").out == "other does not run, and stays stopped\n"
    kinds = [event for event, _result in host.events]
    assert kinds == ["deployed", "backed up", "rolled back", "rolled back", "restored", "restarted"]
    assert f"backup {name}" in shell("releases").out.splitlines()


def test_backup_that_is_none(shell: Shell, host: Host) -> None:
    host.database.write_bytes(b"x" * 5000)
    assert "cannot be copied" in shell("backup").err
    (host.root / "backups").rename(host.root / "away")
    assert "No such file" in shell("backup").err
    host.database.unlink()
    assert shell("backup").code == 2
    shell.changes = {"database": ""}
    assert shell("backup").code == 2
    assert shell("restore", "x").code == 2


def test_a_second_operator_is_told_who_it_is(shell: Shell, host: Host) -> None:
    host.build("other")
    with locks.held("deployment", "deploy x", who="ada"):
        for words in (["deploy", "other"], ["deploy", "good"], ["rollback"], ["restart"], ["backup"]):
            told = shell(*words)
            assert (told.code, "the deployment lock is held by ada, deploy x, since" in told.err) == (4, True), told
        assert "the deployment lock is held by ada" in shell("releases").out
        assert shell("recover").out == "a deployment is under way\n"


def test_an_operation_that_is_interrupted(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.build("other")
    monkeypatch.setattr(transient, "run", lambda *_arguments, **_options: shell.after)
    done = shell("deploy", "other", "--json")
    assert (done.code, done.document["reason"]) == (1, "it was interrupted")
    shell.after = Completed(1, b'{"changed": true, "release": "other", "reason": "it was interrupted at the step stop", "rollback": "good answers again"}', b"")
    assert shell("deploy", "other", "--json").document["rollback"] == "good answers again"
    shell.after = Completed(
        1, b'{"changed": true, "release": "other", "reason": "x", "rollback": null}{"changed": true, "rollback": "good answers again"}', b""
    )
    assert shell("deploy", "other", "--json").document["rollback"] == "good answers again"
    shell.after = Completed(1, b'{"message": "recover failed too"}', b"")
    (host.root / "deployment.json").write_text("{}")
    assert shell("deploy", "other").code == 3
    shell.after = Completed(2, b"", b"no configuration\n")
    assert shell("deploy", "other").err == "nous-vm deploy: no configuration\n"


def test_what_was_interrupted_before_comes_first(shell: Shell, host: Host) -> None:
    plan = {"step": "stop", "release": "other", "previous": "good"}
    (host.root / "deployment.json").write_text(json.dumps(plan))
    assert "interrupted at the step stop: nous-vm recover" in shell("releases").out
    assert shell("restart").code == 0
    (host.root / "deployment.json").write_text(json.dumps(plan))
    assert shell("backup").code == 0
    (host.root / "deployment.json").write_text(json.dumps(plan))
    assert shell("recover").out == "it was interrupted at the step stop; good answers again\n"
    assert shell("recover").out == "nothing was interrupted\n"
    (host.root / "deployment.json").write_text("")
    assert "cannot be read" in shell("restart", "--json").document["message"]
    (host.root / "deployment.json").write_text(json.dumps(plan | {"step": "known-good", "generation": 1, "settings": "", "leave": "", "release": "good"}))
    assert shell("recover").out == "good is deployed\n"


def test_pause_and_resume(shell: Shell, host: Host) -> None:
    done = shell("pause", "the disk is replaced")
    assert done.code == 0
    assert done.out.startswith("traffic is held by operator since ")
    assert host.proxy.paused
    assert shell("traffic").out.startswith("traffic is held by operator")
    traffic.hold(host.service().proxy, traffic.DEPLOYMENT, "x")
    done = shell("resume", "--json")
    assert (done.document["changed"], [each["owner"] for each in done.document["reasons"]]) == (True, ["deployment"])
    assert host.proxy.paused, "another has a reason too"
    pause.clear(traffic.DEPLOYMENT)
    assert shell("resume").out == "traffic flows\n"
    assert not host.proxy.paused
    assert host.events == [("paused", "done"), ("resumed", "done")]
    assert shell("traffic").out == "traffic flows\n"


def test_answers_without_a_record_are_let_out_for_a_reason_and_a_time(shell: Shell, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "UNAUDITED", tmp_path / "unaudited.json")
    pause.add(pause.GUARD, "answers would not be recorded", reject=True)
    assert shell("traffic").out.startswith("traffic is rejected by audit-guard")
    for words in (["--unaudited"], ["--unaudited", "--for", "10m"], ["--reason", "x"], ["--for", "10m"]):
        done = shell("resume", *words)
        assert (done.code, "belong together" in done.err) == (2, True)
    done = shell("resume", "--unaudited", "--for", "10m", "--reason", "an answer is worth more")
    assert (done.code, done.out) == (0, "traffic flows\n")
    found = pause.unaudited()
    assert found
    assert found[0].startswith("an answer is worth more (")
    assert host.events == [("resumed unaudited", "done")]


def test_a_pause_with_an_end(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(pause_command, "run_program", lambda argv, **_options: calls.append(argv))
    assert shell("pause", "x", "--reject", "--for", "10m").code == 0
    assert calls[0][-2:] == ["/usr/local/sbin/nous-vm", "traffic"]
    assert "--on-active=600" in calls[0]
    assert 590 <= int(host.proxy.map["all"]) <= 600
    for wrong in ("10", "0s", "-1m", "x", "1d", "1234567s"):
        assert shell("pause", "x", "--for", wrong).code == 2


def test_a_proxy_that_starts_is_waited_for(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    pause.add(traffic.OPERATOR, "x")
    host.proxy.stop()
    started = threading.Timer(0.1, host.proxy.start)
    started.start()
    assert shell("traffic").code == 0
    assert host.proxy.paused
    started.join()
    host.proxy.stop()
    monkeypatch.setattr(traffic_command, "PATIENCE", 0.1)
    assert shell("traffic").code == 1


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the server's place, which does not end when it is told to, unless that is changed."""
    monkeypatch.setattr(drain, "END", 0.2)
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setenv("MAINPID", str(process.pid))
        yield process
        process.kill()


def test_the_stop_of_the_server(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch, main: subprocess.Popen[bytes]) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    host.systemd.calls.clear()
    with monkeypatch.context() as patch:
        patch.delenv("MAINPID")
        assert shell("drain").code == shell("undrain").code == 0
        assert not host.proxy.paused, "of a server that crashed there is nothing to wait for"
        assert host.systemd.orders("start") == [], "nor is it flushed: it is to be back first"
    begun = time.time()
    assert shell("drain", "--json").document == {}
    assert host.proxy.paused
    (reason,) = pause.reasons()
    assert reason.until == reason.since + host.about["drain"] + drain.LONGEST
    told = ["kill", "--kill-whom=main", "--signal=SIGTERM", NAMES.server]
    assert host.systemd.orders("kill") == [told, [*told[:2], "--signal=SIGKILL", told[3]]], "one that does not end is killed"
    assert time.time() - begun < 5
    traffic.hold(host.service().proxy, traffic.DEPLOYMENT, "x")
    assert shell("undrain").code == 0
    assert host.systemd.orders("start") == [["start", "--no-block", NAMES.flush]]
    assert host.proxy.paused, "a deployment is under way"
    pause.clear(traffic.DEPLOYMENT)
    assert shell("undrain", "--json").document == {}
    assert not host.proxy.paused


def test_a_server_that_ends_is_not_killed(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch, main: subprocess.Popen[bytes]) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    monkeypatch.setattr(drain, "END", 30)
    main.terminate()
    host.systemd.calls.clear()
    assert shell("drain").code == 0
    assert len(host.systemd.orders("kill")) == 1
    main.wait()
    host.proxy.stop()
    assert shell("undrain").code == 1
    assert host.systemd.orders("start") == [["start", "--no-block", NAMES.flush]], "though the proxy is away"
    drain.end(main.pid)
    assert len(host.systemd.orders("kill")) == 1, "it is gone"


def test_the_stop_of_the_proxy(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no more, and what is under way ends; nobody has a reason for that which would outlast it."""
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    monkeypatch.delenv("MAINPID", raising=False)
    assert shell("drain", "--proxy").code == 0
    assert not host.proxy.paused
    monkeypatch.setenv("MAINPID", "1")
    host.proxy.in_flight, begun = 1, time.monotonic()
    assert shell("drain", "--proxy", "--json").document == {}
    assert time.monotonic() - begun >= host.about["drain"]
    assert (host.proxy.paused, pause.reasons(), host.systemd.orders("kill")) == (True, [], [])


def test_releases(shell: Shell, host: Host) -> None:
    found = shell("releases", "--json").document
    assert found == {
        "current": "good",
        "built": ["good"],
        "failed": {},
        "known_good": ["good"],
        "backups": [],
        "lock": None,
        "interrupted": None,
        "traffic": "flows",
        "unhealthy": None,
    }
    host.proxy.stop()
    host.systemd.order("stop", NAMES.server)
    assert shell("releases").out.splitlines()[-2:] == ["traffic: the local proxy does not answer", "server: nous.service does not run"]
    (host.root / "deployment.json").write_text("")
    assert shell("releases", "--json").document["interrupted"] == "unreadable"


FOLLOWED = BuildConfiguration(
    "git-000000000000-py3.13",
    Path("/opt/nous"),
    "/usr/bin/python3",
    "/uv",
    {},
    "",
    1024,
    "warn",
    {"kind": "git", "ref": "main", "url": "https://example.org/nous.git"},
)
COMMIT = "0123456789abcdef"


def test_what_a_release_is_made_of(shell: Shell, host: Host) -> None:
    venv = host.root / "releases" / host.build("other", programs=["venv/bin/tool"]) / "venv"
    done = shell("releases", "show", "other")
    assert done.code == 0 and "as it was built" in done.out and "made of the source of other, commit other" in done.out
    (venv / "lib/python3.13/site-packages/dep-1.0.dist-info").mkdir(parents=True)
    dump = host.folder / "osv.json"
    dump.write_text(json.dumps({"id": "PYSEC-1", "affected": [{"package": {"ecosystem": "PyPI", "name": "Dep"}, "versions": ["1.0"]}]}))
    done = shell("releases", "show", "other", "--advisories", str(dump), "--json")
    assert done.code == 1
    assert [each["advisory"] for each in done.document["advisories"]] == ["PYSEC-1"] and "is damaged" in done.document["damage"]
    assert shell("releases", "show", "none").code == 2
    assert shell("releases", "show").out.startswith("good, built at")


NEWEST = "git-0123456789ab-py3.13"


@pytest.fixture
def branch(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A branch whose newest commit is COMMIT."""
    about: dict[str, Any] = {"commit": COMMIT, "built": {}}

    def commit(_configuration: object) -> str:
        if about["commit"] is None:
            raise NousVmError("fatal: away")
        return str(about["commit"])

    def build(_configuration: object, name: str) -> dict[str, Any]:
        if not about["built"]:
            host.build(name)
        return dict(about["built"])

    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration.load", lambda: FOLLOWED)
    monkeypatch.setattr(newest, "newest_commit", commit)
    monkeypatch.setattr(newest, "build", build)
    return about


def test_the_newest_commit(shell: Shell, host: Host, branch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    branch["built"] = {"reason": "no"}
    done = shell("deploy", "--newest")
    assert (done.code, done.out) == (1, f"{NEWEST} is not built: no; it is tried again\n")
    branch["built"] = {}
    monkeypatch.setattr(host, "begin", lambda: setattr(host.systemd, "pid", 1))  # the fake knows releases by their names
    done = shell("deploy", "--newest", "--json")
    assert done.code == 0
    assert done.document["release"] == NEWEST
    about = host.root / "releases" / NEWEST / "release.json"
    about.write_text(json.dumps(json.loads(about.read_bytes()) | {"commit": COMMIT}))
    done = shell("deploy", "--newest")
    assert (done.code, done.out) == (0, f"{NEWEST} is deployed, the newest commit of main of https://example.org/nous.git\n")


def test_a_newest_commit_that_fails(shell: Shell, host: Host, branch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    begin = host.begin

    def crashing() -> None:
        begin()
        host.systemd.crashes = int(host.current() == NEWEST)

    monkeypatch.setattr(host, "begin", crashing)
    done = shell("deploy", "--newest")
    assert (done.code, done.out) == (1, f"{NEWEST} is not deployed: nous.service crashes; good answers again\n")
    done = shell("deploy", "--newest", "--json")
    assert done.code == 1
    assert "it failed: with these settings, nous.service crashes" in done.document["message"]
    branch["commit"] = None
    done = shell("deploy", "--newest")
    assert (done.code, done.out) == (2, "main of https://example.org/nous.git cannot be queried: fatal: away\n")
    branch["commit"] = "f" * 40
    with locks.held("deployment", "deploy x"):
        assert shell("deploy", "--newest").code == 4


def test_facts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host with a release and no timer; then of one with a timer and no current release."""
    monkeypatch.setattr(facts, "settled", lambda: True)
    monkeypatch.setattr(facts, "CONFIGURATION", host.folder)
    found = facts.facts(str(host.root))
    assert found == {"current": "good", "source": "the source of good", "releases": ["good"], "follow": "none", "settled": True}
    monkeypatch.setattr(facts, "UNITS", host.folder)
    (host.folder / NAMES.follow_timer).touch()
    (host.folder / "current").unlink()
    host.systemd.enabled.add(NAMES.follow_timer)
    found = facts.facts(str(host.root))
    assert (found["current"], found["source"], found["follow"]) == ("", "", "enabled inactive")


@pytest.mark.parametrize(
    ("code", "printed", "settled"),
    [(0, b'{"changed": false}', True), (0, b'{"changed": true}', False), (1, b'{"changed": false}', False), (0, b"no JSON", False), (127, b"", False)],
)
def test_settled_by_the_command_of_the_host(monkeypatch: pytest.MonkeyPatch, code: int, printed: bytes, settled: bool) -> None:
    monkeypatch.setattr(facts, "run", lambda _argv, timeout: Completed(code, printed, b""))
    assert facts.settled() is settled


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"root": 3}'])
def test_a_configuration_that_is_wrong(host: Host, content: str) -> None:
    host.path.write_text(content)
    with pytest.raises(UsageError, match=r"deploy\.json cannot be used: "):
        host.configuration()
    assert isinstance(host.service().configuration, Configuration)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (path.stem.replace("_", " ") for path in Path(folder.__path__[0]).glob("[!_]*.py")):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        assert "--json" in capsys.readouterr().out
