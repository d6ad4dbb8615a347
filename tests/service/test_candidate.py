"""A candidate is tried over stdio, in the server's sandbox and on copies, before anybody waits for it. (What it can do wrong: the unit tests.)"""

from __future__ import annotations

import pytest
from host import Host
from releases import ROOT, Releases

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


CHECKS = "/etc/nous-vm/checks.d"
REACHES = """#!/usr/bin/python3
import os, socket
host, port = os.environ["NOUS_ADDRESS"].split(":")
socket.create_connection((host, int(port)), 5)
mine = [path for path in ("/etc/shadow", "/etc/nous/nous.env", "/var/log/nous/audit.jsonl", "/root") if os.access(path, os.R_OK)]
mine += [path for path in ("/var/lib/nous", "/opt/nous", "/etc/nous-vm/checks.d", "/usr/local") if os.access(path, os.W_OK)]
raise SystemExit(f"{os.getuid()} may read or write {mine}" if mine or os.getuid() == 0 else 0)
"""


def test_the_operator_s_checks(releases: Releases) -> None:
    """They reach the server and have no right; a wanted one is reported, a required one rolls back."""
    host = releases.host
    host.put(f"{CHECKS}/required/10-reaches", REACHES)
    host.put(f"{CHECKS}/wanted/bad", "#!/bin/sh\necho no way\nexit 1\n")
    host.sh(f"chmod 755 {CHECKS}/*/*")
    try:
        done = releases.well("deploy", releases.copy("other"))
        assert done["warnings"] == ["the wanted check bad fails: no way"]
        host.sh(f"mv {CHECKS}/wanted/bad {CHECKS}/required/20-bad")
        tried = releases.run("deploy", releases.copy("third"))
        assert (tried.document["reason"], tried.document["rollback"]) == ("the required check 20-bad fails: no way", "other answers again")
    finally:
        host.sh(f"rm -f {CHECKS}/*/*")
