# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of nous-vm status that subpackages give, and that their next steps are of rows that there are."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import health
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import summary as audit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import summary as clients
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import summary as deploy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import check as gateway_check
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import summary as gateway
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import summary as key


def known(current: str | None, good: list[str], failed: list[str], backups: dict[str, Any]) -> Any:
    releases = SimpleNamespace(current=lambda: current, known_good=lambda: good, failed=lambda: {each: {} for each in failed})
    return SimpleNamespace(releases=releases, backups=SimpleNamespace(complete=lambda: backups))


@pytest.mark.parametrize(
    ("service", "lines"),
    [
        (known(None, [], [], {}), ["none, none to roll back to", "none"]),
        (known("2", ["1", "2"], [], {"b1": {"at": 0.0}, "b2": {"at": 60.0}}), ["2, rollback to 1", "2, the latest of 1970-01-01 00:01 UTC: b2"]),
        (known("3", ["1", "2", "3"], ["2"], {"b1": {}}), ["3, rollback to 1", "1, the latest of 1970-01-01 00:00 UTC: b1"]),
    ],
)
def test_release_and_backups(monkeypatch: pytest.MonkeyPatch, service: Any, lines: list[str]) -> None:
    monkeypatch.setattr(deploy, "service", lambda: service)
    assert list(deploy.summary()) == list(zip(["release", "backups"], lines, strict=True))


@pytest.mark.parametrize(("cidrs", "allowed"), [(["192.0.2.0/24", "203.0.113.7/32"], "192.0.2.0/24, 203.0.113.7/32"), ([], "nobody")])
def test_the_gateway(monkeypatch: pytest.MonkeyPatch, cidrs: list[str], allowed: str) -> None:
    monkeypatch.setattr(configuration, "parameters", lambda: configuration.Parameters(Path("/x"), "nous.example.org", cidrs, [], True, None))
    monkeypatch.setattr(gateway_check, "denied", lambda: Row("denied in the last hour", "ok", "nobody"))
    assert list(gateway.summary()) == [("gateway", f"allows {allowed}"), ("denied", "in the last hour: nobody")]


def test_rotations(monkeypatch: pytest.MonkeyPatch) -> None:
    first = SimpleNamespace(name="nous", directory=Path("/var/log/nous"), files=("audit.jsonl",))
    second = SimpleNamespace(name="other", directory=Path("/var/log/other"), files=("a", "b"))
    monkeypatch.setattr(audit, "everything", lambda: iter([first, second]))
    monkeypatch.setattr(audit, "logs_of", lambda config: config.files)
    monkeypatch.setattr(audit, "archives", lambda _log: ["one", "two"])
    monkeypatch.setattr(audit, "show", lambda unit, name: {name: "tomorrow"} if "nous" in unit else {})
    line = "/var/log/nous/audit.jsonl: 2 archives, next rotation tomorrow; /var/log/other/a, /var/log/other/b: 4 archives, next rotation never"
    assert list(audit.summary()) == [("audit", line)]


@pytest.mark.parametrize("module", [audit, clients, deploy, gateway, key], ids=lambda module: module.__name__.split(".")[-2])
def test_next_steps_are_of_rows(module: ModuleType) -> None:
    """Each is of a row that the subpackage's check names, or unit_rows; by its source, because not all rows can be had without a host."""
    source = Path(str(module.__file__)).with_name("check.py").read_text(encoding="utf-8") + Path(health.__file__).read_text(encoding="utf-8")
    assert [name for name in module.NEXT_STEPS if not re.search(rf'"{re.escape(name)}', source)] == []
