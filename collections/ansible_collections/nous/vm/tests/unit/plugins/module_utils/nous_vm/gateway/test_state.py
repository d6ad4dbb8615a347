# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on disk, and what runs?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin, configuration, state

DESIRED: dict[str, Any] = {"apps": {"http": {}}}


def throw(error: Exception) -> NoReturn:
    """Raise what is not known to be an error before."""
    raise error


class Host:
    """A host with the gateway, whose Caddy serves what is on disk."""

    def __init__(self) -> None:
        self.served: Any = DESIRED
        self.unit = {"NeedDaemonReload": "no"}
        for path, content in ((configuration.CADDY, ""), (configuration.CADDYFILE, self.ours("a\n")), (configuration.DROP_IN, "[Service]\n")):
            path.write_text(content, encoding="utf-8")
        configuration.PARAMETERS.write_text(json.dumps({"config": str(configuration.CADDYFILE)}), encoding="utf-8")
        configuration.keep_known_good(configuration.on_disk())

    @staticmethod
    def ours(body: str) -> str:
        return f"{configuration.HEAD}{hashlib.sha256(body.encode()).hexdigest()}\n{body}"

    def ask(self, _socket: Path) -> Any:
        if isinstance(self.served, Exception):
            throw(self.served)
        return self.served

    @staticmethod
    def state() -> dict[str, Any]:
        return state.state(configuration.CADDYFILE)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    for name in ("CADDYFILE", "DROP_IN", "PARAMETERS", "KNOWN_GOOD", "CADDY"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    made = Host()
    monkeypatch.setattr(state, "holders", lambda _ports, _unit: {80: "nginx (pid 7)"})
    monkeypatch.setattr(state, "show", lambda _unit, _name: made.unit)
    monkeypatch.setattr(admin, "desired", lambda: DESIRED)
    monkeypatch.setattr(admin, "served", made.ask)
    return made


GOOD = {"installed": True, "owner": "ours", "known_good": True, "served": True, "port_holders": {}, "list_url": ""}


def test_nothing_to_do(host: Host) -> None:
    assert host.state() == GOOD | {"config": str(configuration.CADDYFILE)}


def test_a_host_without_the_gateway(host: Host, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    assert host.state() == {
        "installed": False,
        "config": str(configuration.CADDYFILE),
        "owner": "absent",
        "known_good": False,
        "served": False,
        "port_holders": {"80": "nginx (pid 7)"},
        "list_url": "",
    }


@pytest.mark.parametrize("name", ["CADDYFILE", "DROP_IN", "PARAMETERS"])
def test_a_file_that_is_not_as_it_was_verified(host: Host, name: str) -> None:
    path: Path = getattr(configuration, name)
    path.write_text({"CADDYFILE": host.ours("b\n"), "DROP_IN": "", "PARAMETERS": "{}"}[name], encoding="utf-8")
    assert host.state()["known_good"] is False


def test_another_file_to_be_its_own(host: Host, tmp_path: Path) -> None:
    snippet = tmp_path / "nous.caddy"
    snippet.write_text(host.ours("a\n"), encoding="utf-8")
    assert state.state(snippet)["known_good"] is False


@pytest.mark.parametrize("served", [{}, {"apps": {"http": {"opened": "by hand"}}}, OSError("unreachable"), ForeignError("too late")])
def test_something_else_is_served(host: Host, served: object) -> None:
    host.served = served
    assert host.state() == GOOD | {"config": str(configuration.CADDYFILE), "served": False}


def test_a_unit_that_systemd_has_not_read(host: Host) -> None:
    host.unit = {"NeedDaemonReload": "yes"}
    assert host.state()["served"] is False
    configuration.DROP_IN.unlink()
    assert host.state()["served"] is True, "the unit of a shared Caddy is its owner's"
