# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is deployed, and wherever it is killed: one complete generation runs, what was acknowledged is there, and traffic flows."""

from __future__ import annotations

import contextlib
import json
from typing import NamedTuple

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deployment import Deployment
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, restart, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.power import Power, boot, powered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELEASES = ("good", "good-2", "writes", "crash", "dead")


class Step(NamedTuple):
    """An operation, killed before an act of it; then the host boots or recover comes at once, which is killed too, or not."""

    what: str
    killed: int | None = None
    boots: bool = False
    recovery: int | None = None


def nobody_reaches_a_candidate(host: Host) -> None:
    """While it is not decided, the proxy lets nobody in to a server that runs."""
    if (host.journal() or {}).get("step") == "candidate" and host.systemd.active[NAMES.server] and host.systemd.pid:
        assert host.proxy.paused


def assert_one_complete_generation_runs(host: Host) -> None:
    assert host.journal() is None
    assert pause.reasons() == []
    assert not host.proxy.paused
    assert host.systemd.active[NAMES.server] and host.systemd.pid and not host.systemd.crashes
    current = (host.folder / "current").resolve()
    about = json.loads((current / "generation.json").read_bytes())
    assert about["number"] == int(current.name)
    assert {name for name in host.about["files"] if not (current / name).is_file()} == set()
    for unit in (NAMES.server, NAMES.proxy, NAMES.proxy_socket):
        assert f"file://{current}" in host.systemd.loaded[unit], "old text"
        assert str(host.folder / "current") not in host.systemd.loaded[unit]
    assert (host.copies / NAMES.server / "nous-vm.generation").read_text() == current.name, "the server runs with another"
    assert (host.copies / NAMES.proxy / "nous-vm.generation").read_bytes() == (current / "identity/proxy").read_bytes()
    assert host.systemd.wanted(NAMES.server)


def operate(host: Host, what: str) -> None:
    if what in RELEASES:
        deploy(host.service(), what, again=True)
    elif what == "rollback":
        with contextlib.suppress(UsageError):  # there may be none to roll back to
            roll_back(host.service(), None)
    elif what == "restart":
        restart(host.service())
    else:
        path = host.files[3] if what.startswith("proxy") else host.files[1]
        path.write_text(f"{what}\n")
        deploy(host.service(), host.current(), again=True)


def recover(power: Power, at_start: bool, killed: int | None) -> None:
    """As systemd does: once more, if it was killed."""
    with power.running(killed):
        Deployment(power.host.service()).recover(at_start)
    if power.dead:
        Deployment(power.host.service()).recover(at_start)


def take(power: Power, step: Step, acknowledged: list[str]) -> bool:
    """Take a step, look at what came of it, and return whether it was killed."""
    host = power.host
    with power.running(step.killed):
        operate(host, step.what)
    if killed := power.dead:
        if step.boots:
            boot(host)
        recover(power, step.boots, step.recovery)
        if step.boots:
            host.systemd.order("start", NAMES.server)
    assert_one_complete_generation_runs(host)
    assert [each for each in acknowledged if each not in host.notes()] == []
    acknowledged.append(f"row {len(acknowledged)}")
    host.note(acknowledged[-1])
    assert Deployment(host.service()).recover() == {"changed": False}
    return killed


def prepared(power: Power) -> None:
    power.host.about["keep"] = 20  # so that none has to be built again
    for release in RELEASES:
        power.host.build(release)
    assert deploy(power.host.service(), "good", again=False)["reason"] is None


steps = st.builds(
    Step,
    st.sampled_from([*RELEASES, "rollback", "restart", "better", "never", "proxy a", "proxy b"]),
    st.none() | st.integers(0, 90),
    st.booleans(),
    st.none() | st.integers(0, 40),
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=4))
def test_any_operations_killed_anywhere(sequence: list[Step]) -> None:
    with powered(nobody_reaches_a_candidate) as power:
        prepared(power)
        acknowledged: list[str] = []
        for step in sequence:
            take(power, step, acknowledged)
        power.host.files[1].write_text("good\n")
        assert deploy(power.host.service(), "good", again=True).get("reason") is None


@pytest.mark.parametrize("boots", [False, True])
def test_a_deployment_killed_before_each_of_its_acts(boots: bool) -> None:
    """From one release to the other and back, with the proxy's files, until it comes to its end."""
    with powered(nobody_reaches_a_candidate) as power:
        prepared(power)
        acknowledged: list[str] = []
        killed = 0
        while True:
            other = "good-2" if power.host.current() == "good" else "good"
            power.host.files[3].write_text(f"proxy of {other}\n")
            if not take(power, Step(other, killed, boots), acknowledged):
                break
            killed += 1
        assert killed > 30
