# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze as the rotation sees it: which units are frozen, when it gives up, and how they are thawed in any case."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import freeze
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.configuration import Configuration, load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.steps import Steps
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.cgroups import Running
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.kernel import Kernel
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import Place

Answers = list[bytes]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def config(place: Place, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    place.configure(units=["w.service", "idle.service"])
    monkeypatch.setattr(freeze, "running", lambda _units: {"w.service": Running("/w", "active")})
    monkeypatch.setattr(freeze, "show_all", lambda units, _name: {unit: {"FreezerState": "running"} for unit in units})
    return load(place.config)


@pytest.fixture
def starts(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], list[Mapping[str, str]]]]:
    """Have freezers started that do as they are asked and give these answers, one after the other, and end when there are no more."""
    threads: list[threading.Thread] = []

    def prepare(answers: Answers) -> list[Mapping[str, str]]:
        started: list[Mapping[str, str]] = []

        def serve(connection: socket.socket, cgroups: Mapping[str, str]) -> None:
            with connection:
                while answers and (asked := connection.recv(16)):
                    answer = answers.pop(0)
                    if answer in (b"frozen", b"thawed"):
                        kernel.frozen.update(cgroups.values()) if asked == b"freeze" else kernel.frozen.clear()
                    connection.send(answer)
                    if not answers:
                        return

        def start(_config: Configuration, cgroups: Mapping[str, str], path: Path) -> None:
            started.append(cgroups)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.connect(str(path))
            threads.append(threading.Thread(target=serve, args=(connection, cgroups)))
            threads[-1].start()

        monkeypatch.setattr(freeze, "_start", start)
        return started

    yield prepare
    for thread in threads:
        thread.join(10)


def names(steps: Steps) -> list[str]:
    return [step.partition(":")[0] for step in steps.made]


Starts = Callable[[Answers], list[Mapping[str, str]]]


def test_units_that_run_are_frozen_meanwhile(config: Configuration, kernel: Kernel, starts: Starts) -> None:
    started, steps = starts([b"frozen", b"thawed"]), Steps()
    with freeze.held_frozen(config, steps) as pause:
        assert pause.thawed() == ""
        assert kernel.frozen == {"/w"}
        assert pause.still() == {"w.service": "/w"}
    assert kernel.frozen == set()
    assert started == [{"w.service": "/w"}]
    assert names(steps) == ["freeze", "thaw", "pause"]
    assert pause.milliseconds > 0


def test_they_are_thawed_whatever_happens(config: Configuration, kernel: Kernel, starts: Starts) -> None:
    starts([b"frozen", b"thawed"])
    with pytest.raises(KeyboardInterrupt), freeze.held_frozen(config, Steps()):
        raise KeyboardInterrupt
    assert kernel.frozen == set()


def test_what_cannot_be_frozen_is_an_error(config: Configuration, starts: Starts) -> None:
    starts([b"not frozen after 5 s: /w\x1b", b"thawed"])
    with pytest.raises(NousVmError, match=r"the freezer was to freeze: not frozen after 5 s: /w\\x1b"), freeze.held_frozen(config, Steps()):
        pytest.fail("it is not frozen")


def test_what_has_taken_too_long_is_given_up(config: Configuration, starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    starts([b"frozen", b"thawed"])
    monkeypatch.setattr(freeze, "BUDGET", -1)
    with freeze.held_frozen(config, Steps()) as pause, pytest.raises(freeze.GaveUp, match="the log is not cut -1 s after the freeze"):
        pause.still()


def test_a_unit_that_somebody_thawed_is_named(config: Configuration, kernel: Kernel, starts: Starts) -> None:
    starts([b"frozen", b"thawed"])
    with freeze.held_frozen(config, Steps()) as pause:
        kernel.frozen.clear()
        with pytest.raises(NousVmError, match=r"^w.service was thawed by somebody else$"):
            pause.still()


def test_a_unit_that_started_just_before_the_freeze_is_one_to_give_up_for(
    config: Configuration, kernel: Kernel, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The freezer is not made for its cgroup. It is asked to thaw all the same: a rotation that just goes is killed."""
    starts([b"thawed"])
    seen = [{"w.service": Running("/w", "active")}, {"w.service": Running("/w", "active"), "idle.service": Running("/i", "activating")}]
    monkeypatch.setattr(freeze, "running", lambda _units: seen.pop(0))
    steps = Steps()
    with pytest.raises(freeze.GaveUp, match="a unit was started or stopped just before the freeze"), freeze.held_frozen(config, steps):
        pytest.fail("it is not frozen")
    assert names(steps) == ["thaw", "pause"]


def test_an_answer_that_nobody_waited_for_is_no_other(config: Configuration, kernel: Kernel, starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while it waited for the freeze: the answer to that comes first."""
    starts([b"frozen", b"thawed"])
    ask = freeze._ask

    def interrupted(freezer: socket.socket, what: str, expected: str) -> None:
        if what == "freeze":
            freezer.send(b"freeze")
            raise KeyboardInterrupt
        ask(freezer, what, expected)

    monkeypatch.setattr(freeze, "_ask", interrupted)
    steps = Steps()
    with pytest.raises(KeyboardInterrupt), freeze.held_frozen(config, steps):
        pytest.fail("it was interrupted")
    assert names(steps) == ["thaw", "pause"]


class TestAFreezerThatWasKilled:
    def test_the_rotation_thaws_by_itself(self, config: Configuration, kernel: Kernel, starts: Starts) -> None:
        starts([b"frozen"])
        steps = Steps()
        with freeze.held_frozen(config, steps):
            assert kernel.frozen == {"/w"}
        assert kernel.frozen == set()
        assert names(steps) == ["freeze", "freezer", "thaw", "pause"]

    def test_in_a_sandbox_another_freezer_does(self, config: Configuration, kernel: Kernel, starts: Starts) -> None:
        kernel.frozen, kernel.error = {"/w"}, PermissionError(30, "Read-only file system")
        started, steps = starts([b"thawed"]), Steps()
        freeze.thaw(config, {"w.service": "/w", "idle.service": "/i"}, steps)
        assert (kernel.frozen, started, steps.made) == (set(), [{"w.service": "/w"}], ["thaw: w.service"])

    def test_what_systemd_has_frozen_it_has_to_thaw(self, config: Configuration, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel.frozen = {"/w"}
        ran: list[list[str]] = []
        monkeypatch.setattr(freeze, "show_all", lambda units, _name: {unit: {"FreezerState": "frozen"} for unit in units})
        monkeypatch.setattr(freeze, "run", lambda argv, **_about: ran.append(argv))
        freeze.thaw(config, {"w.service": "/w"}, Steps())
        assert ran == [["systemctl", "thaw", "w.service"]]

    def test_nothing_frozen_is_nothing_to_do(self, config: Configuration, kernel: Kernel) -> None:
        steps = Steps()
        freeze.thaw(config, {"w.service": "/w"}, steps)
        assert steps.made == []


def test_a_freezer_that_does_not_come(config: Configuration, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "START", 0.05)
    monkeypatch.setattr(freeze, "_start", lambda *_arguments: None)
    with pytest.raises(NousVmError, match=r"the freezer is not there after 0[.]05 s"), freeze.held_frozen(config, Steps()):
        pytest.fail("nothing is frozen")


@pytest.mark.parametrize("code", [0, 1])
def test_it_is_started_in_a_unit_of_its_own(config: Configuration, place: Place, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], **_about: Any) -> Completed:
        ran.append(argv)
        return Completed(code, b"", b"no such unit type")

    monkeypatch.setattr(freeze, "run", run)
    if code:
        with pytest.raises(NousVmError, match="the freezer does not start: no such unit type"):
            freeze._start(config, {"w.service": "/w"}, Path("/run/s"))
    else:
        freeze._start(config, {"w.service": "/a\\x2db/w"}, Path("/run/s"))
        [argv] = ran
        assert argv[0] == "systemd-run"
        assert "--wait" not in argv
        assert argv[-9:] == ["freezer", "--name", "x", "--socket", "/run/s", "--cgroup", "/a\\x2db/w", "--log", str(place.log)]
        assert "--property=ReadWritePaths=-/sys/fs/cgroup/a\\\\x2db/w" in argv
        assert {"--property=OOMScoreAdjust=-1000", "--no-block", "--property=Before=w.service", "--property=Before=idle.service"} <= set(argv)
        assert argv.index("--service-type=exec") < argv.index("--service-type=oneshot")


class TestSettled:
    """A unit that is starting or stopping is waited for."""

    def test_until_it_is_active(self, monkeypatch: pytest.MonkeyPatch) -> None:
        states = ["activating", "activating", "active"]
        monkeypatch.setattr(freeze, "running", lambda _units: {"w.service": Running("/w", states.pop(0))})
        assert freeze.settled(["w.service"]) == {"w.service": "/w"}
        assert states == []

    def test_but_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(freeze, "WAIT", 0.05)
        monkeypatch.setattr(freeze, "running", lambda _units: {"w.service": Running("/w", "activating"), "o.service": Running("/o", "active")})
        with pytest.raises(NousVmError, match=r"the units cannot be frozen after 0.05 s: w.service is activating$"):
            freeze.settled(["w.service", "o.service"])


class TestStill:
    """What is asked before the flag is lifted, and before the cut."""

    def test_a_unit_that_runs(self, kernel: Kernel) -> None:
        with pytest.raises(NousVmError, match=r"w[.]service was thawed by somebody else"):
            freeze.Pause({"w.service": "/w"}).still()

    def test_a_rotation_that_takes_too_long(self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel.frozen = {"/w"}
        monkeypatch.setattr(freeze, "BUDGET", -1.0)
        with pytest.raises(NousVmError, match="is not cut -1 s after the freeze"):
            freeze.Pause({"w.service": "/w"}).still()
