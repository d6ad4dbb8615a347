"""What is too old goes: releases beyond those to keep, and never the one that serves or the one before it."""

from __future__ import annotations

import json

import test_activate
from host import only_on
from test_activate import ROOT, Releases

releases = test_activate.releases


@only_on("debian-testing", "the program's own logic")
def test_releases_that_are_too_many_go(releases: Releases) -> None:
    """In the order in which they served last; of one that never served, and was bad, only why it was stays."""
    host = releases.host
    assert json.loads(host.sh("cat /root/activate.json"))["keep"] == 3, "the role's default"
    host.sh(f"cd {ROOT}/releases; mkdir tried; echo '{{}}' > tried/bad.json; touch -d yesterday tried/release.json")
    releases.well("serve", releases.copy("second"))
    releases.well("serve", releases.first)
    assert releases.status()["built"] == sorted([releases.first, "second"])
    releases.configure(keep=2)
    releases.well("serve", releases.copy("third"))
    releases.assert_whole("third")
    assert releases.status()["built"] == sorted([releases.first, "third"])
    assert "second" not in host.sh(f"ls {ROOT}/releases").split()
    assert host.sh(f"ls {ROOT}/releases/tried") == "bad.json"
    assert releases.status()["accepted"] == [releases.first, "third"]
    assert releases.well("rollback")["release"] == releases.first
