"""Upgrades, good ones and bad ones, and rollbacks, under 200 requests a second."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller import wait
from host import Host, only_full

READY = 8  # seconds that a candidate has; what waits at the proxy waits no longer


def status(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.sh("/usr/local/sbin/nous-vm releases --json || true"))
    return found


@only_full("test_ansible_killed upgrades and goes back by the playbooks too")
def test_upgrade_and_rollback_fail_no_request(host: Host) -> None:
    before = status(host)["current"]
    calls = host.query("SELECT count(*) FROM executed")
    newer = host.pack("1.1.0")
    with host.load() as load:
        run = host.play(nous_service_archive=str(newer))
        assert run.returncode == 0, run.stdout[-4000:]
        load.settle()
        after = status(host)["current"]
        assert after != before
        back = host.play("rollback")
        assert back.returncode == 0, back.stdout[-4000:]
        assert status(host)["current"] == before
    load.assert_nothing_failed()
    # A release goes back, what it wrote does not.
    assert host.query("SELECT count(*) FROM executed") > calls


@only_full("two runs each; test_bad_release has them without, molecule/nous_service without load")
@pytest.mark.parametrize("fault", ["crash", "hang", "error"])
def test_failed_upgrade_fails_no_request(host: Host, fault: str) -> None:
    before = status(host)["current"]
    broken = host.pack("1.2.0", fault)
    with host.load() as load:
        run = host.play(nous_service_archive=str(broken), nous_service_ready_timeout=READY)
        assert run.returncode != 0
        assert "is not deployed" in run.stdout, run.stdout[-4000:]
        assert status(host)["current"] == before
        again = host.play(nous_service_archive=str(broken), nous_service_ready_timeout=READY)
        assert again.returncode != 0
        assert status(host)["current"] == before
    load.assert_nothing_failed()
    wait(host.answers, "the release before to answer")
