# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local proxy, and the set of reasons that pauses traffic."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import proxy as module
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import traffic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.proxy import Proxy
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host


@pytest.fixture
def proxy(bare: Host) -> Proxy:
    return Proxy(bare.proxy.path)


def test_traffic_flows_when_nobody_has_a_reason(bare: Host, proxy: Proxy) -> None:
    assert proxy.traffic() == traffic.expected([]) == "flows"
    traffic.hold(proxy, "deployment", "x")
    assert proxy.traffic() == traffic.expected(pause.reasons()) == "paused"
    pause.add("operator", "y", reject=True)
    traffic.apply(proxy)
    assert proxy.traffic() == traffic.expected(pause.reasons()) == "rejected"
    assert not bare.proxy.paused, "a client is told, not held"
    assert bare.proxy.map == {"all": "30"}
    traffic.release(proxy, "operator")
    assert proxy.traffic() == "paused"
    traffic.release(proxy, "deployment")
    assert proxy.traffic() == "flows"
    traffic.release(proxy, "deployment")
    assert proxy.traffic() == "flows"


def test_calls_are_counted(bare: Host, proxy: Proxy) -> None:
    head = "# table: answered, type: string, size:10, used:"
    bare.proxy.table = f"{head}0\n"
    assert proxy.calls() == (0, 0), "none since it was started"
    bare.proxy.table = f"{head}1\n0x7f: key=calls use=2 exp=0 shard=0 gpc0=141 conn_cur=2\n"
    assert proxy.calls() == (141, 2)
    bare.proxy.table = "No such table\n"
    with pytest.raises(ValueError, match="No such table"):
        proxy.calls()


def test_nothing_flows_between_a_rejection_and_a_pause(bare: Host, proxy: Proxy) -> None:
    pause.add("operator", "y", reject=True, seconds=90)
    traffic.apply(proxy)
    assert 85 <= int(bare.proxy.map["all"]) <= 90
    bare.proxy.log.clear()
    pause.add("operator", "y")
    traffic.apply(proxy)
    assert bare.proxy.log == ["disable frontend nous", f"clear map {module.REJECT}"]
    bare.proxy.log.clear()
    pause.add("operator", "y", reject=True)
    traffic.apply(proxy)
    assert bare.proxy.log == [f"clear map {module.REJECT}", f"add map {module.REJECT} all 30", "enable frontend nous"]


def test_who_comes_last_sees_what_another_changed(bare: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    apply, others = Proxy.apply, [lambda: pause.add("operator", "meanwhile")]

    def slow(self: Proxy, reasons: list[pause.Reason]) -> None:
        if others:
            others.pop()()
        apply(self, reasons)

    monkeypatch.setattr(Proxy, "apply", slow)
    assert [each.owner for each in traffic.apply(proxy)] == ["operator"]
    assert bare.proxy.paused


def test_a_pause_that_nobody_is_left_to_end(bare: Host, proxy: Proxy) -> None:
    assert not traffic.left_paused(proxy)
    traffic.hold(proxy, traffic.DEPLOYMENT, "x")
    assert traffic.left_paused(proxy)
    pause.clear(traffic.DEPLOYMENT)
    traffic.hold(proxy, traffic.OPERATOR, "x")
    assert not traffic.left_paused(proxy)
    bare.proxy.stop()
    assert not traffic.left_paused(proxy)


def test_a_proxy_that_does_not_understand(bare: Host, proxy: Proxy) -> None:
    bare.proxy.broken = True
    with pytest.raises(OSError, match="Unknown command"):
        proxy.apply([])


def test_a_proxy_that_is_too_slow_is_asked_twice(bare: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.proxy.silent = True
    with monkeypatch.context() as patch, pytest.raises(TimeoutError):
        patch.setattr(module, "ANSWER", 0.1)
        proxy.command("show stat")
    bare.proxy.silent = False
    assert "FRONTEND" in proxy.command("show stat")


def test_an_answer_is_bounded(bare: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 10)
    with pytest.raises(TimeoutError, match="did not end its answer"):
        proxy.command("show stat")


def test_requests_under_way_are_waited_for(bare: Host, proxy: Proxy) -> None:
    bare.proxy.in_flight = 2
    begun = time.monotonic()
    proxy.drain(0.2)
    assert 0.2 <= time.monotonic() - begun < 1
    ended = threading.Timer(0.1, lambda: setattr(bare.proxy, "in_flight", 0))
    ended.start()
    proxy.drain(30)
    assert proxy.in_flight() == 0
    ended.join()
    proxy.cut()
    assert not any(line.startswith("shutdown") for line in bare.proxy.log)
