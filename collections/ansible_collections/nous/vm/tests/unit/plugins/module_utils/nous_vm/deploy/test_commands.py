# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands: what they print, with which exit code, and what they leave to whom."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration as BuildConfiguration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import origin, server, traffic, transient
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import deploy as deploy_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.running import Running
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import tcp
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.shell import Shell


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


def test_a_look_at_a_server_that_is_restarted_meanwhile(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that was there when systemd was asked is gone; the one that answers is found."""

    def in_network_of(pid: int, address: str, port: int) -> Callable[[float], socket.socket]:
        if pid != host.systemd.pid:
            raise FileNotFoundError(f"/proc/{pid}/ns/net")
        return tcp(address, port)

    def restarted(_running: Running) -> bool:
        host.systemd.pid += 1
        return False

    monkeypatch.setattr(server, "in_network_of", in_network_of)
    monkeypatch.setattr(Running, "server_is_outdated", restarted)
    assert shell("deploy", "current", "--check").out == "good is deployed\n"


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


def test_again_builds_what_is_known_to_fail(shell: Shell, builds: Builds) -> None:
    assert shell("deploy", "git-1-py3.13", "--again").code == 0
    assert builds.asked == [("git-1-py3.13", "main", True)]


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


def test_the_unit_is_told_who_asked_and_from_where(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo leaves no SSH_CONNECTION in the environment."""
    host.build("other")
    asked: list[list[str]] = []

    def told(argv: list[str], **_options: object) -> Completed:
        asked.append([str(each) for each in argv])
        return Completed(0, b'{"changed": false}', b"")

    monkeypatch.setattr(transient, "run", told)
    monkeypatch.setattr(transient, "whoever", lambda: "ada")
    for place, words in (("203.0.113.7", {"--setenv=SUDO_USER=ada", "--setenv=SSH_CONNECTION=203.0.113.7"}), (locks.LOCAL, {"--setenv=SUDO_USER=ada"})):
        monkeypatch.setattr(transient, "origin", lambda place=place: place)
        shell("deploy", "other")
        assert {word for word in asked.pop() if word.startswith("--setenv=S")} == words


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
