"""A repository at each kind of place that the role knows: backups and a drill, and what a host says whose secret is another one, or whose storage is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import storage
from alone import Host, only_full
from storage import PASSWORD, PLACES, RCLONE, Place

pytestmark = only_full("other places than a folder")
BY_UNIT = "systemctl start nous-backup.service"  # in its sandbox, as the timer does
# restic tries for as long as it is let: the test has no two minutes for each.
SHORTER = "sed -i 's/^LOOK = .*/LOOK = 15.0/' /usr/local/lib/nous-vm/nous_vm/offsite/restic.py"


class Stored(NamedTuple):
    """A host, and the place that its repository is at."""

    host: Host
    place: Place


@pytest.fixture(scope="module")
def outside(host: Host) -> Host:
    storage.prepare(host)
    host.sh("mkdir -p /srv/estate; head -c 3000000 /dev/urandom > /srv/estate/data")
    return host


@pytest.fixture(params=PLACES)
def stored(request: pytest.FixtureRequest, outside: Host) -> Iterator[Stored]:
    place = PLACES[request.param]
    storage.serve(outside, place)
    known = storage.variables(outside, place)
    outside.play(**known)
    assert "changed=0" in outside.play(**known), "a second run"
    outside.sh(f"systemctl stop nous-backup.timer; {SHORTER}")
    yield Stored(outside, place)
    outside.sh("systemctl stop storage 2>/dev/null || true")
    outside.play()


def failed(host: Host) -> tuple[str, str]:
    """Make a backup, which has to fail; return status and detail of its row, which has the reason that the event has too."""
    assert "failed" in host.sh(f"{BY_UNIT} || echo failed")
    event = json.loads(host.sh("/usr/local/sbin/nous-vm history --json"))["events"][-1]
    assert (event["event"], event["result"]) == ("backed up off the host", "failed")
    status, detail = host.rows("offsite")["backup"]
    assert event["why"] in detail
    return status, detail


def test_a_place(stored: Stored) -> None:
    host, place = stored
    storage.secret(host, place, right=False)
    status, detail = failed(host)
    assert (status, place.rejected in detail) == ("fail", True), detail
    storage.secret(host, place, right=True)
    host.sh(BY_UNIT)
    code, text = host.back_up()
    assert code == 0, text
    print(f"RPO: {json.loads(text)['lost_at_most']} s, of a backup that took {json.loads(text)['seconds']} s")
    assert host.drill() == (True, "")
    assert {name for name, row in host.rows("offsite").items() if row[0] != "ok"} == {"backup timer"}, "which this test stopped"

    host.sh("systemctl stop storage")
    status, detail = failed(host)
    assert (status, place.away in detail) == ("warn", True), detail  # what there is is new enough
    good, why = host.drill()
    assert (good, place.away in why) == (False, True), why
    storage.serve(host, place)
    assert host.back_up()[0] == 0
    assert host.drill() == (True, "")
    assert "failure" not in host.last()
    told = host.sh("journalctl --quiet --boot --output=cat; cat /etc/nous-vm/offsite.json /var/lib/nous-vm/offsite/last.json")
    told += host.sh("/usr/local/sbin/nous-vm history --json")
    assert [line for line in told.splitlines() if (PASSWORD in line or "canary" in line) and RCLONE not in line] == []
