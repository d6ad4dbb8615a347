# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands around the server's stop, and those that pause traffic."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import traffic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import drain
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import pause as pause_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import traffic as traffic_command
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.shell import Shell


def test_pause_and_resume(shell: Shell, host: Host) -> None:
    done = shell("pause", "the disk is replaced")
    assert done.code == 0
    assert done.out.startswith("traffic is held by operator since ")
    assert host.proxy.paused
    assert shell("traffic").out.startswith("traffic is held by operator")
    traffic.hold(host.service().proxy, traffic.DEPLOYMENT, "x")
    done = shell("resume", "--json")
    assert (done.document["changed"], [each["owner"] for each in done.document["reasons"]]) == (True, ["deployment"])
    assert host.proxy.paused, "another has a reason too"
    pause.clear(traffic.DEPLOYMENT)
    assert shell("resume").out == "traffic flows\n"
    assert not host.proxy.paused
    assert host.events == [("paused", "done"), ("resumed", "done")]
    assert shell("traffic").out == "traffic flows\n"


def test_answers_without_a_record_are_let_out_for_a_reason_and_a_time(shell: Shell, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "UNAUDITED", tmp_path / "unaudited.json")
    pause.add(pause.GUARD, "answers would not be recorded", reject=True)
    assert shell("traffic").out.startswith("traffic is rejected by audit-guard")
    for words in (["--unaudited"], ["--unaudited", "--for", "10m"], ["--reason", "x"], ["--for", "10m"]):
        done = shell("resume", *words)
        assert (done.code, "belong together" in done.err) == (2, True)
    done = shell("resume", "--unaudited", "--for", "10m", "--reason", "an answer is worth more")
    assert (done.code, done.out) == (0, "traffic flows\n")
    found = pause.unaudited()
    assert found
    assert found[0].startswith("an answer is worth more (")
    assert host.events == [("resumed unaudited", "done")]


def test_a_pause_with_an_end(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(pause_command, "run_program", lambda argv, **_options: calls.append(argv))
    assert shell("pause", "x", "--reject", "--for", "10m").code == 0
    assert calls[0][-2:] == ["/usr/local/sbin/nous-vm", "traffic"]
    assert "--on-active=600" in calls[0]
    assert 590 <= int(host.proxy.map["all"]) <= 600
    for wrong in ("10", "0s", "-1m", "x", "1d", "1234567s"):
        assert shell("pause", "x", "--for", wrong).code == 2


def test_a_proxy_that_starts_is_waited_for(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    pause.add(traffic.OPERATOR, "x")
    host.proxy.stop()
    started = threading.Timer(0.1, host.proxy.start)
    started.start()
    assert shell("traffic").code == 0
    assert host.proxy.paused
    started.join()
    host.proxy.stop()
    monkeypatch.setattr(traffic_command, "PATIENCE", 0.1)
    assert shell("traffic").code == 1


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the server's place, which does not end when it is told to, unless that is changed."""
    monkeypatch.setattr(drain, "END", 0.2)
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setenv("MAINPID", str(process.pid))
        yield process
        process.kill()


def test_the_stop_of_the_server(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch, main: subprocess.Popen[bytes]) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    host.systemd.calls.clear()
    with monkeypatch.context() as patch:
        patch.delenv("MAINPID")
        assert shell("drain").code == shell("undrain").code == 0
        assert not host.proxy.paused, "of a server that crashed there is nothing to wait for"
        assert host.systemd.orders("start") == [], "nor is it flushed: it is to be back first"
    begun = time.time()
    assert shell("drain", "--json").document == {}
    assert host.proxy.paused
    (reason,) = pause.reasons()
    assert reason.until == reason.since + host.about["drain"] + drain.LONGEST
    told = ["kill", "--kill-whom=main", "--signal=SIGTERM", NAMES.server]
    assert host.systemd.orders("kill") == [told, [*told[:2], "--signal=SIGKILL", told[3]]], "one that does not end is killed"
    assert time.time() - begun < 5
    traffic.hold(host.service().proxy, traffic.DEPLOYMENT, "x")
    assert shell("undrain").code == 0
    assert host.systemd.orders("start") == [["start", "--no-block", NAMES.flush]]
    assert host.proxy.paused, "a deployment is under way"
    pause.clear(traffic.DEPLOYMENT)
    assert shell("undrain", "--json").document == {}
    assert not host.proxy.paused


def test_a_server_that_ends_is_not_killed(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch, main: subprocess.Popen[bytes]) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    monkeypatch.setattr(drain, "END", 30)
    main.terminate()
    host.systemd.calls.clear()
    assert shell("drain").code == 0
    assert len(host.systemd.orders("kill")) == 1
    main.wait()
    host.proxy.stop()
    assert shell("undrain").code == 1
    assert host.systemd.orders("start") == [["start", "--no-block", NAMES.flush]], "though the proxy is away"
    drain.end(main.pid)
    assert len(host.systemd.orders("kill")) == 1, "it is gone"


def test_the_stop_of_the_proxy(shell: Shell, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no more, and what is under way ends; nobody has a reason for that which would outlast it."""
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.configuration.load", lambda: host.service().configuration)
    monkeypatch.delenv("MAINPID", raising=False)
    assert shell("drain", "--proxy").code == 0
    assert not host.proxy.paused
    monkeypatch.setenv("MAINPID", "1")
    host.proxy.in_flight, begun = 1, time.monotonic()
    assert shell("drain", "--proxy", "--json").document == {}
    assert time.monotonic() - begun >= host.about["drain"]
    assert (host.proxy.paused, pause.reasons(), host.systemd.orders("kill")) == (True, [], [])
