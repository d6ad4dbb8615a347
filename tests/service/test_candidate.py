"""A candidate is tried over stdio, in the server's sandbox and on copies, before anybody waits for it. (What it can do wrong: the unit tests.)"""

from __future__ import annotations

import pytest
from host import Host
from test_deploy import ROOT, Releases, releases

__all__ = ["releases"]
AUDIT = "/var/log/nous/audit.jsonl"


@pytest.fixture(autouse=True)
def untouched(host: Host) -> None:
    """No record of the call that a candidate is tried with is in the real log, before or after."""
    assert host.sh(f"grep -c device_info {AUDIT} || true") == "0"


def test_one_without_tools_never_takes_the_server_s_place(releases: Releases) -> None:
    pid, bad = releases.host.show("MainPID"), releases.copy("bad", "toolless")
    tried = releases.run("deploy", bad)
    assert (tried.rc, tried.document["reason"], tried.document["rollback"]) == (1, "over stdio, it has no tools", f"{releases.first} was not stopped")
    assert releases.host.show("MainPID") == pid
    assert list(releases.status()["failed"]) == [bad]
    assert releases.host.sh(f"ls {ROOT}") == "backups\nbuilding\ncurrent\nreleases"


def test_one_that_works_is_tried_on_copies(releases: Releases) -> None:
    """Its tool is called, and recorded in a log of its own: were there none, it would fail."""
    releases.configure(health_tool="device_info")
    releases.well("deploy", releases.copy("other"))
    assert releases.host.sh(f"grep -c device_info {AUDIT} || true") == "0"
    releases.configure(health_tool="no_such_tool")
    assert releases.run("deploy", releases.copy("third")).document["reason"] == "over stdio, it has no tool no_such_tool"
