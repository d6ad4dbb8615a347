# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a package put in the place of the gateway's configuration is replaced by what was verified last, and nothing else is."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import apply, configuration, repair
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_repair
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

PACKAGE = ":80 {\n\troot * /usr/share/caddy\n}\n"
BODY = "nous.example.org {\n}\n"
OURS = configuration.HEAD + hashlib.sha256(BODY.encode()).hexdigest() + "\n" + BODY


class Host:
    """A host whose Caddyfile was verified. faults: what a Caddy that is to take another says, one after the other. took: where it ran with which."""

    def __init__(self) -> None:
        self.faults, self.took, self.events = list[str](), list[dict[str, str]](), list[tuple[str, str]]()

    def serve(self, other: dict[str, str]) -> str:
        self.took.append(other)
        return self.faults.pop() if self.faults else ""

    def record(self, event: str, result: str = "done", **_about: object) -> dict[str, Any]:
        self.events.append((event, result))
        return {}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    for name in ("CADDYFILE", "DROP_IN", "PARAMETERS", "KNOWN_GOOD"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    monkeypatch.setattr(events, "record", made.record)
    monkeypatch.setattr(apply, "serve", made.serve)
    digest = hashlib.md5(PACKAGE.encode(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(configuration, "run", lambda *_argv, **_more: Completed(0, f" {configuration.CADDYFILE} {digest}\n".encode(), b""))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    configuration.CADDYFILE.write_text(OURS, encoding="utf-8")
    configuration.keep_known_good(configuration.on_disk())
    return made


def content() -> str:
    return configuration.CADDYFILE.read_text(encoding="utf-8")


def command() -> Any:
    return gate_repair.run(argparse.Namespace()).document


def test_the_package_s_own_is_replaced(host: Host) -> None:
    configuration.CADDYFILE.write_text(PACKAGE, encoding="utf-8")
    assert command() == {"message": f"{configuration.CADDYFILE} was the package's; what was verified last serves again"}
    assert content() == OURS
    assert (host.took, host.events) == ([{str(configuration.CADDYFILE): PACKAGE}], [("gateway repaired", "done")])
    assert command() == {"message": ""}
    assert len(host.took) == 1


@pytest.mark.parametrize("written", [OURS, OURS + "# by hand\n", "other.example.org {\n}\n"], ids=["ours", "edited", "foreign"])
def test_another_stays(host: Host, written: str) -> None:
    configuration.CADDYFILE.write_text(written, encoding="utf-8")
    assert command() == {"message": ""}
    assert (content(), host.took, host.events) == (written, [], [])


def test_a_host_without_a_gateway_keeps_the_package_s(host: Host) -> None:
    configuration.KNOWN_GOOD.unlink()
    configuration.CADDYFILE.write_text(PACKAGE, encoding="utf-8")
    assert command() == {"message": ""}
    assert (content(), host.took) == (PACKAGE, [])


def test_beside_other_sites_the_file_is_their_owner_s(host: Host, tmp_path: Path) -> None:
    configuration.PARAMETERS.write_text(json.dumps({"config": str(tmp_path / "nous.caddy")}), encoding="utf-8")
    configuration.CADDYFILE.write_text(PACKAGE, encoding="utf-8")
    assert repair.repair() == "there is nothing to repair"
    assert (content(), host.took) == (PACKAGE, [])


def test_what_was_verified_last_cannot_be_served_any_more(host: Host) -> None:
    configuration.CADDYFILE.write_text(PACKAGE, encoding="utf-8")
    host.faults = ["After 60 s it does not answer."]
    with pytest.raises(NousVmError, match="what was verified last was put back, but: After 60 s it does not answer"):
        command()
    assert content() == OURS
    assert host.events == [("gateway repaired", "failed")]
