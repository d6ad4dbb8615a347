# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that print what there is, and the one that looks for a newer commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration as BuildConfiguration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import commands as folder
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import facts, newest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.shell import Shell


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
