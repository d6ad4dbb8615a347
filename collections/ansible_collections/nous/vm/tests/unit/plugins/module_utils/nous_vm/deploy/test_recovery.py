# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that are interrupted: recover completes them, or rolls them back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import traffic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deployment import Deployment
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.test_deployment import assert_sound


class Killed(BaseException):
    """Nothing of the program goes on."""


STEPS = ["pause", "stop", "candidate", "known-good"]


def interrupt(host: Host, monkeypatch: pytest.MonkeyPatch, at: str, release: str, **request: Any) -> None:
    """Let a deployment end as if it were killed, when it has written down a step."""
    note = Deployment.note

    def killed(self: Deployment, **fields: Any) -> None:
        note(self, **fields)
        if fields.get("step") == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Deployment, "note", killed)
        # A kill runs no finally either.
        with pytest.raises(Killed):
            deploy(host.service(**request), release, again=False)


@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_recover_ends_what_was_interrupted(host: Host, monkeypatch: pytest.MonkeyPatch, step: str, at_start: bool) -> None:
    interrupt(host, monkeypatch, step, host.build("other"))
    if at_start:  # a boot: nothing runs, and /run is empty
        host.systemd.active[NAMES.server], host.systemd.pid = False, 0
        pause.clear(traffic.DEPLOYMENT)
    done = Deployment(host.service()).recover(at_start)
    assert done["changed"]
    expected = "other" if step == "known-good" else "good"
    if at_start and step == "pause":
        host.systemd.order("start", NAMES.server)
    assert_sound(host, expected)
    assert done["reason"] == (None if step == "known-good" else f"it was interrupted at the step {step}")
    assert host.notes() == ["first"]
    assert host.service().releases.failed() == {}, "that it was interrupted is no fault of the release"
    assert Deployment(host.service()).recover(at_start) == {"changed": False}


def killed(*_arguments: object) -> None:
    raise Killed


def test_recover_is_itself_interrupted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(host, monkeypatch, "candidate", host.build("writes"))
    host.note("written by a candidate")
    with monkeypatch.context() as patch:
        patch.setattr(Deployment, "switch", killed)
        with pytest.raises(Killed):
            Deployment(host.service()).recover()
    assert Deployment(host.service()).recover()["rollback"] == "good answers again"
    assert host.notes() == ["first"]
    assert_sound(host, "good")


def test_a_journal_that_cannot_be_read_is_for_a_person(host: Host) -> None:
    (host.root / "deployment.json").write_text("")
    with pytest.raises(OSError, match="cannot be read: see what"):
        Deployment(host.service()).recover()
    done = Deployment(host.service()).recover(at_start=True)  # a server that runs is left alone
    assert "could not be completed" in done["reason"]
    host.systemd.order("stop", NAMES.server)
    with pytest.raises(OSError, match="cannot be read"):
        Deployment(host.service()).recover(at_start=True)


def test_a_boot_that_cannot_roll_back_does_not_start_the_candidate(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(host, monkeypatch, "candidate", host.build("other"))
    name = (host.journal() or {})["backup"]
    (host.root / "backups" / name).rename(host.root / "backups/.lost")
    host.systemd.order("stop", NAMES.server)
    with pytest.raises(OSError, match="No such file"):
        Deployment(host.service()).recover(at_start=True)
    assert host.journal() is not None
    assert not host.systemd.active[NAMES.server]


def test_nothing_is_marked_while_the_host_goes_down(host: Host) -> None:
    host.at_start = lambda: setattr(host.systemd, "system", "stopping")
    deploy(host.service(), host.build("crash"), again=False)
    assert host.service().releases.failed() == {}
