"""Planned changes, each under a load: no call is cut however long it takes, and no request fails."""

from __future__ import annotations

import contextlib
import time

import pytest
from controller import wait
from host import only_full, rest
from loads import FULL, REQUESTED
from releases import Releases

LONG, CALLS = (20, 20) if FULL else (3, 5)  # seconds, and how many
SERVER, PROXY = "systemctl restart nous.service", "systemctl restart nous-proxy.service"
RESTART, DEPLOYMENT, ROLLBACK = "nous-vm restart", "nous-vm deploy other", "nous-vm rollback"


@pytest.mark.parametrize("change", [SERVER, PROXY, *rest(RESTART, DEPLOYMENT, ROLLBACK)])
def test_a_planned_change_cuts_no_call(releases: Releases, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Calls that take long end; who comes meanwhile waits."""
    monkeypatch.setattr("loads.RATE", 30.0)
    host = releases.host
    if change in (DEPLOYMENT, ROLLBACK):
        releases.copy("other")
    if change == ROLLBACK:
        releases.well("deploy", "other")
    with contextlib.ExitStack() as calls, host.load() as load:
        numbers = [f"long{time.monotonic_ns()}-{each}" for each in range(CALLS)]
        under_way = [calls.enter_context(host.call_in_flight("slow", seconds=LONG, call_id=number)) for number in numbers]
        wait(lambda: host.in_flight() >= CALLS, "the calls to be begun")
        begun = time.monotonic()
        host.sh(change)
        took = time.monotonic() - begun
        for number, connection in zip(numbers, under_way, strict=True):
            received = connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200") and number.encode() in received, received
    print(f"{change} beside {CALLS} calls of {LONG} s took {took:.2f} s")
    load.assert_nothing_failed()


@only_full("a machine that does nothing else")
def test_planned_changes_fail_no_request(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as the proxy is to carry, in an open loop."""
    monkeypatch.setattr("loads.RATE", REQUESTED)
    releases.copy("other")
    for change in (SERVER, PROXY, RESTART, DEPLOYMENT, ROLLBACK):
        with releases.host.load() as load:
            begun = time.monotonic()
            releases.host.sh(change)
            print(f"{change} took {time.monotonic() - begun:.2f} s")
        load.assert_nothing_failed()
