# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change is verified, or rolled back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin, apply, configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.reload import Reloaded
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed


class Host:
    """What is on disk, and what Caddy makes of it: the contents in BROKEN it cannot serve."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broken, self.served, self.events = folder, set[str](), "", list[tuple[str, str]]()

    def write(self, content: str) -> None:
        configuration.CADDYFILE.write_text(content, encoding="utf-8")

    @property
    def content(self) -> str:
        return configuration.CADDYFILE.read_text(encoding="utf-8")

    def serve(self, _other: dict[str, str]) -> str:
        if self.content in self.broken:
            return f"it is {self.content}."
        self.served = self.content
        return ""

    def record(self, event: str, result: str = "done", **_about: object) -> dict[str, Any]:
        self.events.append((event, result))
        return {}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    for name in ("CADDYFILE", "DROP_IN", "PARAMETERS", "KNOWN_GOOD"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    monkeypatch.setattr(events, "record", made.record)
    monkeypatch.setattr(apply, "serve", made.serve)
    return made


def test_a_first_one(host: Host) -> None:
    host.write("good")
    assert apply.apply() == ("", False)
    assert host.events == [("gateway applied", "done")]
    assert configuration.known_good() == configuration.on_disk() != {}


def test_a_first_one_that_cannot_be_served_stays(host: Host) -> None:
    """There is nothing to roll back to, and what is there denies."""
    host.write("bad")
    host.broken = {"bad"}
    assert apply.apply() == ("it is bad.", False)
    assert host.events == [("gateway applied", "failed")]
    assert configuration.known_good() == {}
    assert host.content == "bad"


def test_rolled_back(host: Host) -> None:
    host.write("good")
    configuration.DROP_IN.write_text("[Service]\n", encoding="utf-8")
    apply.apply()
    host.write("bad")
    host.broken = {"bad"}
    assert apply.apply() == ("it is bad. Rolled back: the configuration from before serves.", True)
    assert (host.content, host.served) == ("good", "good")
    assert configuration.DROP_IN.read_text(encoding="utf-8") == "[Service]\n"
    assert host.events[-1] == ("gateway rolled back", "done")
    assert configuration.known_good() == configuration.on_disk()


def test_the_one_from_before_cannot_be_served_either(host: Host) -> None:
    host.write("good")
    apply.apply()
    host.write("bad")
    host.broken = {"bad", "good"}
    outcome = apply.apply()
    assert outcome == ("it is bad. The configuration from before was put back, but with it the gateway is not ready either: it is good.", False)
    assert host.events[-1] == ("gateway applied", "failed")


def test_the_same_again_that_cannot_be_served_any_more(host: Host) -> None:
    host.write("good")
    apply.apply()
    host.broken = {"good"}
    assert apply.apply() == ("it is good.", False)
    assert host.content == "good"


def test_a_first_one_beside_other_sites_is_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    own = host.folder / "nous.caddy"
    own.write_text("bad", encoding="utf-8")
    configuration.PARAMETERS.write_text(json.dumps({"config": str(own)}), encoding="utf-8")
    host.write("other sites")
    host.broken = {"other sites"}
    taken: list[bool] = []

    def take(_other: dict[str, str]) -> str:
        taken.append(own.exists())
        return ""

    monkeypatch.setattr(apply, "take", take)
    assert apply.apply() == (f"it is other sites. {own} was removed again.", True)
    assert taken == [False], "Caddy takes the Caddyfile without it"


# What serve is made of


def test_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "take", lambda other: other.get("take", ""))
    monkeypatch.setattr(apply, "verify", lambda: "not ready")
    assert apply.serve({"take": "not taken"}) == "not taken"
    assert apply.serve({}) == "not ready"


def test_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["not yet", "not yet", ""])
    monkeypatch.setattr(configuration, "parameters", lambda: "parameters")
    monkeypatch.setattr(admin, "desired", dict)
    monkeypatch.setattr(apply, "POLL", 0)
    monkeypatch.setattr(apply, "not_ready", lambda _parameters, _desired: next(answers))
    assert apply.verify() == ""
    monkeypatch.setattr(apply, "PATIENCE", -1)
    monkeypatch.setattr(apply, "not_ready", lambda _parameters, _desired: "it does not answer")
    monkeypatch.setattr(apply, "complaints", lambda _since: "Caddy's journal: no error.")
    assert apply.verify() == "After -1 s it does not answer. Caddy's journal: no error."


class Programs:
    """Remembers what is run; those in FAILING fail."""

    def __init__(self) -> None:
        self.calls, self.failing, self.unit, self.fault = list[str](), set[str](), {"ActiveState": "active", "NeedDaemonReload": "no"}, ""
        self.answers = True

    def run(self, argv: Sequence[str | Path], timeout: float) -> Completed:
        self.calls.append(" ".join(map(str, argv[:2])))
        failed = self.calls[-1] in self.failing
        return Completed(int(failed), b"", b"Job failed.\n" if failed else b"")

    def reload(self) -> Reloaded:
        self.calls.append("reload")
        return Reloaded(self.fault, "a note")


@pytest.fixture
def programs(host: Host, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(apply, "run", made.run)
    monkeypatch.setattr(apply, "reload", made.reload)
    monkeypatch.setattr(apply, "show", lambda _unit, *_names: made.unit)
    monkeypatch.setattr(apply, "complaints", lambda _since: "Caddy's journal: no error.")
    monkeypatch.setattr(admin, "desired", dict)
    monkeypatch.setattr(admin, "answers", lambda _socket: made.answers)
    host.write("good")
    return made


RELOAD = ["/usr/lib/systemd/systemd-sysctl /etc/sysctl.d/60-caddy-gateway.conf", "systemctl enable", "reload"]
RESTART = [*RELOAD[:2], "systemctl daemon-reload", "systemctl restart"]


def test_a_new_caddyfile_is_reloaded(programs: Programs) -> None:
    assert apply.take({str(configuration.CADDYFILE): "old"}) == ""
    assert programs.calls == RELOAD


@pytest.mark.parametrize("unit", [{"ActiveState": "reloading"}, {"ActiveState": "inactive"}, {"NeedDaemonReload": "yes"}])
def test_a_unit_that_is_not_ready_for_a_reload_is_restarted(programs: Programs, unit: dict[str, str]) -> None:
    programs.unit |= unit
    assert apply.take({}) == ""
    assert programs.calls == RESTART


def test_a_changed_drop_in_takes_a_restart(programs: Programs) -> None:
    assert apply.take({str(configuration.DROP_IN): "[Service]\n"}) == ""
    assert programs.calls == RESTART


def test_a_caddy_that_does_not_answer_is_restarted(programs: Programs) -> None:
    programs.answers = False
    assert apply.take({}) == ""
    assert programs.calls == RESTART


def test_a_rejected_reload(programs: Programs) -> None:
    programs.fault = "caddy reload failed: port taken"
    assert apply.take({}) == "caddy reload failed: port taken Caddy's journal: no error."


def test_the_first_program_that_fails_is_named_and_the_others_are_run(programs: Programs) -> None:
    programs.unit["ActiveState"] = "failed"
    programs.failing = {"systemctl daemon-reload", "systemctl restart"}
    assert apply.take({}) == "systemctl daemon-reload failed: Job failed. Caddy's journal: no error."
    assert programs.calls == RESTART


def test_complaints(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "Error: loading new config: \x1b[31mport taken",
        '{"level":"info","msg":"serving"}',
        '{"level":"error","msg":"could not get certificate","error":"no such host\\u009b"}',
        '{"level":"fatal","msg":"gone"}',
        '{"level":"error"',
        "something else",
    ]
    monkeypatch.setattr(apply, "run", lambda *_arguments, **_options: Completed(0, "\n".join(lines).encode(), b""))
    assert apply.complaints(0) == r"Caddy's journal: loading new config: \x1b[31mport taken | could not get certificate: no such host\x9b | gone."
    monkeypatch.setattr(apply, "run", lambda *_arguments, **_options: Completed(1, b"", b""))
    assert apply.complaints(0) == "Caddy's journal: no error."
