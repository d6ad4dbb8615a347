# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of a disk is noticed, and a person decides: every pair of what was and what is."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.machine import Machine
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import identity
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch.commands import identity_keep, identity_renew
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch.summary import NEXT_STEPS

OLD, NEW, NONE = "a0" * 16, "b1" * 16, ""
ANOTHER = "this is another machine than the one whose key and log it has"
UUID, OTHER = "c2" * 16, "d3" * 16


class Host:
    """The machine that the host is on, and what was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path, self.now, self.events = path, Machine(OLD, UUID), list[tuple[str, dict[str, Any]]]()
        monkeypatch.setattr(identity, "PATH", path)
        for module in (identity, identity_keep, identity_renew):
            monkeypatch.setattr(module, "machine", lambda: self.now)
        monkeypatch.setattr(events, "record", lambda event, **about: self.events.append((event, about)))
        monkeypatch.setattr(locks, "held", unlocked)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    @property
    def row(self) -> tuple[str, str]:
        found = identity.check()
        assert found.name == "machine"
        return found.status, found.detail

    def renew(self, force: bool = False) -> Any:
        return identity_renew.run(argparse.Namespace(force=force))

    def keep(self) -> Any:
        return identity_keep.run(argparse.Namespace())


@contextlib.contextmanager
def unlocked(_name: str, _what: str) -> Iterator[int]:
    yield 0


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path / "machine.json")


@pytest.mark.parametrize(
    ("before", "now", "status", "detail"),
    [
        ((OLD, UUID), (OLD, UUID), "ok", ""),
        ((OLD, NONE), (OLD, NONE), "ok", ""),
        ((OLD, NONE), (OLD, UUID), "ok", ""),
        ((OLD, UUID), (OLD, NONE), "ok", ""),
        ((OLD, UUID), (NONE, UUID), "ok", ""),
        (
            (OLD, UUID),
            (NEW, OTHER),
            "fail",
            f"{ANOTHER} (machine-id b1b1b1b1 instead of a0a0a0a0, product-uuid d3d3d3d3 ",
        ),
        (
            (OLD, NONE),
            (NEW, NONE),
            "fail",
            f"{ANOTHER} (machine-id b1b1b1b1 instead of a0a0a0a0); sudo nous-vm",
        ),
        ((OLD, UUID), (NEW, NONE), "fail", ANOTHER),
        ((OLD, UUID), (OLD, OTHER), "warn", "it was moved to other hardware, or is a copy of a disk (product-uuid d3d3d3d3 instead of c2c2c2c2); sudo nous-vm"),
        ((NONE, UUID), (NEW, OTHER), "warn", "it was moved to other hardware"),
        ((OLD, UUID), (NEW, UUID), "warn", "its machine-id was made anew (machine-id b1b1b1b1 instead of a0a0a0a0); sudo nous-vm identity keep"),
        ((OLD, UUID), (NONE, NONE), "unknown", "neither its machine-id nor the UUID of its hardware can be read"),
    ],
)
def test_what_became_of_it(before: tuple[str, str], now: tuple[str, str], status: str, detail: str) -> None:
    found = identity.judged(Machine(*before), Machine(*now))
    assert found[0] == status
    assert found[1].startswith(detail) and bool(found[1]) == bool(detail)
    assert not {OLD, NEW, UUID, OTHER} & set(found[1].replace(",", " ").replace(")", " ").split()), "a row is told to others"
    if status in ("warn", "fail"):
        assert "nous-vm identity keep" in found[1] and "nous-vm identity renew" in found[1]


def test_a_copy_is_red_until_somebody_decides(host: Host) -> None:
    assert host.row == ("ok", "the next run of the watch remembers it")
    assert not host.path.exists(), "a check writes nothing"
    identity.learn()
    assert host.row[0] == "ok" and host.row[1].startswith("as remembered since 20")
    host.now = Machine(NEW, OTHER)
    identity.learn()
    assert host.row[0] == "fail", "a run of the watch decides nothing"
    result = host.keep()
    assert (result.document, host.row[0]) == ({"changed": True, "machine_id": NEW, "product_uuid": OTHER}, "ok")
    assert [name for name, _about in host.events] == ["identity kept"]
    assert NEW not in str(host.events), "the trail leaves the host"
    assert host.keep().document["changed"] is False
    assert len(host.events) == 1


def test_what_becomes_known_is_remembered(host: Host) -> None:
    host.now = Machine("", "")
    identity.learn()
    assert not host.path.exists()
    host.now = Machine(OLD, "")
    identity.learn()
    host.now = Machine(OLD, UUID)
    identity.learn()
    before = host.path.read_bytes()
    assert json.loads(before)["product_uuid"] == UUID
    identity.learn()
    host.now = Machine(OLD, "")
    identity.learn()
    host.now = Machine(NEW, UUID)
    identity.learn()
    assert host.path.read_bytes() == before, "nothing is new, or something differs"


@pytest.mark.parametrize("content", ["", "{", '{"machine_id": "x"}', "[]"])
def test_what_cannot_be_read_is_not_made_anew(host: Host, content: str) -> None:
    host.path.write_text(content)
    identity.learn()
    assert host.path.read_text() == content
    assert host.row == ("warn", f"{host.path} cannot be read; {identity.DECIDE}")
    host.keep()
    assert host.row[0] == "ok"


def test_what_to_do_is_named_once() -> None:
    assert NEXT_STEPS["machine"] == "", "the row has both commands, also where it is told of"


def of_roles(monkeypatch: pytest.MonkeyPatch, **modules: Any) -> None:
    monkeypatch.setattr(identity_renew, "applied", lambda module: sorted(modules) if module == "renewal" else [])
    monkeypatch.setattr(importlib, "import_module", lambda name, _package: modules[name.split(".")[3]])


def test_renew(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    identity.learn()
    last = SimpleNamespace(REMAINS=["a name"], renew=lambda: iter(["the log is new"]))
    first = SimpleNamespace(REMAINS=["restart"], renew=lambda: iter(["the key is new"]), FIRST=True)
    of_roles(monkeypatch, audit=last, key=first, other=SimpleNamespace(REMAINS=["DNS"]))
    with pytest.raises(UsageError, match=r"this is the machine that is remembered, .*--force"):
        host.renew()
    host.now = Machine(NEW, OTHER)
    result = host.renew()
    assert result.document == {"done": ["the key is new", "the log is new"], "remains": ["restart", "a name", "DNS", identity_renew.SSH]}
    assert result.text.splitlines()[:6] == [
        "the key is new",
        "the log is new",
        "this machine is remembered as the one of this host",
        "",
        "What remains for you:",
        "  1. restart",
    ]
    assert (host.row[0], host.events[0][0]) == ("ok", "identity renewed")
    assert identity_renew.MACHINE_ID in host.renew(force=True).document["remains"], "a copy that has the other's machine-id needs one"


def test_it_is_remembered_once_all_is_new(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[str]:
        if made:
            yield "never"
        raise NousVmError("no key")

    made: list[str] = []
    identity.learn()
    host.now = Machine(NEW, OTHER)
    of_roles(monkeypatch, key=SimpleNamespace(REMAINS=[], renew=broken))
    with pytest.raises(NousVmError, match="no key"):
        host.renew()
    assert (host.row[0], host.events) == ("fail", [])


def test_every_role_that_has_something_says_what_remains() -> None:
    package = Path(identity.__file__).parents[1]
    found = {path.parent.name for path in package.glob("*/renewal.py")}
    assert found == {"audit", "clients", "gateway", "key", "offsite"}
    for name in found:
        module = importlib.import_module(f"{identity.__package__.rpartition('.')[0]}.{name}.renewal")
        assert all(isinstance(each, str) and each for each in module.REMAINS) and module.REMAINS, name
    parsed = argparse.ArgumentParser()
    identity_renew.arguments(parsed)
    assert parsed.parse_args(["--force"]).force is True


@pytest.mark.parametrize("module", [identity_keep, identity_renew])
def test_only_root_decides(host: Host, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root decides that"):
        module.run(argparse.Namespace(force=True))


def test_a_copy_that_shows_more_of_itself_is_not_learned(host: Host) -> None:
    host.now = Machine(OLD, "")
    identity.learn()
    host.now = Machine(NEW, UUID)
    identity.learn()
    assert host.row[0] == "fail"
