"""From a destroyed host to a served client: `make restore-drill` prints what is lost (RPO) and how long it takes (RTO)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

import container
from alone import only_full
from controller import wait
from forms import PLATFORMS
from host import SITE
from host import Host as Site

BACKUP = {"backup_repository": "/srv/repository/nous", "backup_password": "a password of the test alone", "backup_schedule": "yearly"}
JWKS = "/var/lib/nous-vm-checkpoint/nous/jwks.json"
# It has the units of a warm standby.
SCALE = container.ROOT / "docs/scale.md"
STANDBY = "/srv/standby"


class Machine(Site):
    """A host with the site and backups, whose repository outlives it."""

    def __init__(self, platform: str, work: Path, name: str, volume: str) -> None:
        super().__init__(platform, work)
        self.container, self.volume = f"{self.container}-{name}", volume

    def boot(self, *options: str) -> None:
        super().boot("--volume", f"{self.volume}:/srv/repository", *options)

    def run(self, playbook: str, **variables: str) -> None:
        done = self.play(playbook, **BACKUP | variables)
        assert done.returncode == 0, done.stdout[-6000:]

    def destroy(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.container], check=True, capture_output=True)


@pytest.fixture(params=PLATFORMS)
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    container.need_root()
    volume = f"nous-vm-restore-{request.param}-{tmp_path.parent.name}"
    made = tuple(Machine(request.param, tmp_path, name, volume) for name in ("old", "new"))
    try:
        yield made[0], made[1]
    finally:
        for each in made:
            subprocess.run(["docker", "rm", "--force", "--volumes", each.container], check=False, capture_output=True)
        subprocess.run(["docker", "volume", "rm", volume], check=False, capture_output=True)


def documented(name: str) -> str:
    """Return a unit of the warm standby as the page has it."""
    found = re.search(rf"^   # /etc/systemd/system/{name}\n(.*?)\n   (?:```|# )", SCALE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    return textwrap.dedent(found[1]) + "\n"


@only_full("two sites")
def test_a_warm_standby(machines: tuple[Machine, Machine]) -> None:
    """A timer copies the repository; a host is made of the copy when both the old one and its repository are gone."""
    old, new = machines
    old.boot()
    old.run("site")
    old.sign_in()
    old.sh("systemctl start nous-backup.service")
    new.boot()
    for kind in ("service", "timer"):
        text = documented(f"nous-standby.{kind}").replace("sftp:backup@storage.example.org:/srv/nous", "/srv/repository/nous")
        new.put(f"/etc/systemd/system/nous-standby.{kind}", text)
    new.sh(f"mkdir --mode=0700 {STANDBY}; umask 077; printf '%s\n' '{BACKUP['backup_password']}' > {STANDBY}/password")
    copy = f"restic --repo {STANDBY}/nous --password-file {STANDBY}/password"
    new.sh(f"{copy} init --copy-chunker-params --from-repo /srv/repository/nous --from-password-file {STANDBY}/password")
    new.sh("systemctl daemon-reload; systemctl enable --now nous-standby.timer; systemctl start nous-standby.service")
    assert new.sh("systemctl show --value --property=Result nous-standby.service") == "success"
    new.sh("systemctl start nous-standby.service")
    assert len(json.loads(new.sh(f"{copy} snapshots --json"))) == 1, "what is there is not copied again"

    begun = time.monotonic()
    old.destroy()
    new.sh("umount /srv/repository")
    new.run("restore_host", backup_repository=f"{STANDBY}/nous")
    wait(lambda: new.served(old.token), "the standby to serve the old token")
    print(f"RTO of a warm standby: {time.monotonic() - begun:.0f} s from the destroyed host to a served client")


@only_full("two sites")
def test_a_host_is_destroyed_and_another_one_takes_its_place(machines: tuple[Machine, Machine]) -> None:
    old, new = machines
    assert SITE["nous_service_source"] == "archive"
    old.boot()
    old.run("site")
    old.sign_in()
    assert old.served(old.token)
    kids = old.sh("cat /etc/nous/jwks.json")
    checkpoints = old.sh("tail -1 /var/log/nous-vm/checkpoints-nous.jws")
    assert old.sh("systemctl start nous-backup.service || journalctl --quiet --output=cat --lines=20 --unit=nous-backup.service") == ""
    with old.load() as load:
        old.sh("systemctl start nous-backup.service")  # nothing of it holds up traffic
    load.assert_nothing_failed()
    last = json.loads(old.sh("cat /var/lib/nous-vm/offsite/last.json"))["backup"]
    begun, machine = time.monotonic(), old.sh("cat /etc/machine-id")
    written = len(old.query("SELECT call_id FROM executed"))
    old.destroy()

    new.boot()
    new.run("restore_host")
    wait(lambda: new.served(old.token), "the new host to serve the old token")
    print(f"RTO: {time.monotonic() - begun:.0f} s from the destroyed host to a served client")
    there = len(new.query("SELECT call_id FROM executed"))
    print(f"RPO: {written - there} of {written} rows lost, all since a backup that took {last['seconds']} s; at most {last['lost_at_most']} s")
    assert 0 < there <= written
    assert new.sh("cat /etc/nous/jwks.json") == kids
    assert checkpoints in new.sh("cat /var/log/nous-vm/checkpoints-nous.jws")
    rows = {row["name"]: row for row in json.loads(new.sh("/usr/local/sbin/nous-vm check --json || true"))["rows"]}
    assert machine in rows["restored"]["detail"]
    assert [row for row in rows.values() if row["status"] == "fail"] == []
    # The chain, its anchors and the checkpoints of both keys, across the seam.
    merge = "import json, sys; print(json.dumps({'keys': [each for path in sys.argv[1:] for each in json.load(open(path))['keys']]}))"
    new.sh(f'python3 -c "{merge}" /var/lib/nous-vm/restored/jwks.json {JWKS} > /run/both.json')
    wait(lambda: new.sh("tail -1 /var/log/nous-vm/checkpoints-nous.jws") not in (checkpoints, ""), "a checkpoint by the new key", 120)
    verified = json.loads(new.sh("/usr/local/sbin/nous-vm audit verify --json --jwks /run/both.json || true"))
    assert verified["whole"], verified
    # Another run changes nothing, and the new host goes on with the backups of the old one.
    new.sh("systemctl start nous-backup.service")
