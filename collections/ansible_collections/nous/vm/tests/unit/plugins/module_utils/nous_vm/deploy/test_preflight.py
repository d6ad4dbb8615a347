# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of the host is named before anything is changed, and never counts against a release."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import backups, preflight
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import check, deploy, restart
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.test_deployment import assert_sound


def assert_nothing_was_touched(host: Host, done: dict[str, object], calls: int) -> None:
    assert (done["changed"], done["rollback"]) == (False, "the server that runs was not touched")
    assert [call for call in host.systemd.calls[calls:] if {"stop", "start", "restart"} & {*call}] == []
    assert host.service().releases.failed() == {}
    assert_sound(host, "good")


def test_all_that_lacks_is_named_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.audit.unlink()
    host.audit.mkdir()
    host.files[4].unlink()
    monkeypatch.setattr(backups, "SPARE", 1 << 60)
    monkeypatch.setattr(preflight, "ROOM", 1 << 60)
    host.systemd.system = "offline"
    calls = len(host.systemd.calls)
    reason = deploy(host.service(home="/nowhere"), host.build("other"), again=False)
    assert_nothing_was_touched(host, reason, calls)
    for part in (
        "this host lacks what a deployment needs: systemd does not answer (is-system-running: offline); ",
        f"root cannot append to {host.audit}: ",
        f"{host.root} has ",
        "/nowhere cannot be used: No such file or directory",
        f"the credential {host.files[4]} cannot be read: ",
        f"and a copy of {host.database} needs ",
    ):
        assert part in reason["reason"]


@pytest.mark.parametrize(
    ("free", "why"),
    [
        ({"f_flag": os.ST_RDONLY}, "is on a file system that is read-only"),
        ({"f_bavail": 1}, "has 0 MiB free, and 16 are needed"),
        ({"f_favail": 3}, "has room for 3 files more, and 64 are needed"),
        ({"f_favail": 0, "f_files": 0}, None),
    ],
)
def test_room(host: Host, monkeypatch: pytest.MonkeyPatch, free: dict[str, int], why: str | None) -> None:
    """By file system, each named once; one without a table of inodes has no limit of them."""
    room = {"f_flag": 0, "f_bavail": 1 << 20, "f_frsize": 4096, "f_files": 1000, "f_favail": 900} | free
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**room))
    lacking = preflight.lacks(host.service().configuration, host.service().backups, backup=False)
    assert lacking == (f"this host lacks what a deployment needs: {host.root} {why}" if why else None)


def test_a_host_that_goes_down_begins_nothing(host: Host) -> None:
    host.systemd.system = "stopping"
    calls = len(host.systemd.calls)
    done = deploy(host.service(), host.build("other"), again=False)
    assert "the host is going down" in done["reason"]
    assert_nothing_was_touched(host, done, calls)


def test_a_restart_does_not_mark_what_was_accepted(host: Host) -> None:
    """Release and settings answered together before: what fails now is something else, and the next run tries again, unasked."""
    host.at_start = lambda: setattr(host.systemd, "crashes", 1)
    assert restart(host.service())["reason"] == "nous.service crashes"
    assert host.service().releases.failed() == {}
    host.at_start = lambda: None
    host.systemd.order("stop", NAMES.server)
    assert deploy(host.service(), "good", again=False)["reason"] is None
    assert_sound(host, "good")


def test_a_mark_is_dropped_when_the_release_answers(host: Host) -> None:
    service = host.service()
    service.releases.mark_failed("good", "the disk was full", service.generations.settings(), [])
    assert check(service, "good", again=False)["actions"] == ["forgive"]
    assert list(service.releases.failed()) == ["good"], "to look changes nothing"
    calls = len(host.systemd.calls)
    done = deploy(service, "good", again=False)
    assert (done["changed"], done.get("reason")) == (True, None)
    assert service.releases.failed() == {}
    assert [call for call in host.systemd.calls[calls:] if "restart" in call or "stop" in call] == []
    assert deploy(service, "good", again=False)["changed"] is False


def test_clocks_are_no_reason_to_restart(host: Host) -> None:
    """Of all files the time is in the future, before and after; content alone tells."""
    for path in host.files:
        os.utime(path, (5e9, 5e9))
    assert check(host.service(), "good", again=False)["actions"] == []
    for number in range(6):
        expected = ["start"] if number == 4 else ["switch", "start"]  # a credential is in no generation
        before = host.files[number].read_text()
        host.files[number].write_text("another\n")
        os.utime(host.files[number], (1, 1))
        assert check(host.service(), "good", again=False)["actions"] == expected
        host.files[number].write_text(before)
    assert check(host.service(), "good", again=False)["actions"] == []
