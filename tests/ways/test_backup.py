"""Backups off the host: what is in one, and what becomes of one that is killed, has no room, no repository, another password, or flipped bits."""

from __future__ import annotations

import json
import random
import time

import pytest
from alone import Host, only_full
from controller import wait

REPOSITORY, PASSWORD = "/srv/repository/nous", "a password of the test alone"
LOG = "/var/log/estate/audit.jsonl"
VARIABLES = {
    "backup_repository": REPOSITORY,
    "backup_password": PASSWORD,
    "backup_append": [LOG],
    "backup_archives": [f"{LOG}.*"],
    "backup_files": ["/srv/estate/*"],
}
# Grows all the time, line by line, and is rotated when it is told to.
WRITER = f"""
import os, time
number = 0
while True:
    with open("{LOG}", "a") as log:
        for _each in range(200):
            number += 1
            log.write('{{"number": %d}}\\n' % number)
            log.flush()
            time.sleep(0.001)
    if os.path.exists("/run/rotate"):
        os.rename("{LOG}", "{LOG}." + open("/run/rotate").read())
        os.unlink("/run/rotate")
"""
# The numbers in the newest backup, of archives and log together.
NUMBERS = f"""
import glob, json, sys
sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.offsite import configuration, operations
operations.fetch(configuration.load(), configuration.DRILL, cached=False)
paths = sorted(glob.glob(f"{{configuration.DRILL}}{LOG}.*"), key=lambda path: int(path.rpartition(".")[2]))
print(json.dumps([json.loads(line)["number"] for path in [*paths, f"{{configuration.DRILL}}{LOG}"] for line in open(path) if line.startswith("{{")]))
"""
MOMENTS = 12
FLIP = f"""
import glob, os
for path in glob.glob("{REPOSITORY}/data/*/*"):
    os.chmod(path, 0o600)
    content = bytearray(open(path, "rb").read())
    content[len(content) // 2] ^= 1
    open(path, "wb").write(content)
"""
# As a check of the repository that is killed leaves it.
EXCLUSIVE = f"""
RESTIC_PASSWORD_FILE=/etc/nous-vm/backup/password restic --repo {REPOSITORY} --no-cache check --read-data > /dev/null 2>&1 & pid=$!
until ls {REPOSITORY}/locks/* > /dev/null 2>&1; do :; done
kill -KILL $pid; wait $pid || true
"""


@pytest.fixture(scope="module")
def backup(host: Host) -> Host:
    """The host with the role, a disk of its own for the repository, and something that is written meanwhile."""
    host.sh("mkdir -p /srv/repository /srv/estate; mountpoint -q /srv/repository || mount -t tmpfs -o size=64m tmpfs /srv/repository")
    host.sh(f"systemctl stop writer 2>/dev/null || true; mkdir -p $(dirname {LOG}); rm -f {LOG}*; echo x > {LOG}.1")
    host.sh("head -c 3000000 /dev/urandom > /srv/estate/data")
    host.play(**VARIABLES)
    host.sh("systemctl stop nous-backup.timer")
    host.put("/run/writer.py", WRITER)
    host.sh("systemd-run --quiet --collect --unit=writer python3 /run/writer.py")
    return host


def test_backups_and_a_drill(backup: Host) -> None:
    assert backup.back_up()[0] == 0
    code, text = backup.back_up()
    assert code == 0, text
    print(f"RPO: {json.loads(text)['lost_at_most']} s, of a backup that took {json.loads(text)['seconds']} s")
    assert backup.drill() == (True, "")
    rows = backup.rows("offsite")
    assert {name: row for name, row in rows.items() if row[0] != "ok"}.keys() == {"backup timer"}, rows  # which this suite stopped


def test_what_a_stranger_sees_of_it(backup: Host) -> None:
    """No line of the log is in the repository in clear text; no other account reads the password or what is copied aside; no process list has it."""
    assert backup.sh(f"grep -rl number {REPOSITORY} || true") == ""
    for path in ("/etc/nous-vm/backup/password", "/var/lib/nous-vm/offsite", REPOSITORY):
        assert "Permission denied" in backup.sh(f"setpriv --reuid=ops --regid=ops --clear-groups ls -l {path}/x 2>&1 || true") or "0600" in backup.sh(
            f"stat --format=0%a {path}"
        )
    assert PASSWORD not in backup.sh("journalctl --quiet --boot --output=cat; cat /etc/nous-vm/offsite.json /etc/systemd/system/nous-backup.service")


def test_killed(backup: Host) -> None:
    """Killed at any moment, the next one is complete; so it is when what was killed held the repository for itself alone."""
    for delay in (0.2, 1.0, 2.5):
        backup.sh("systemctl start --no-block nous-backup.service")
        time.sleep(delay)  # the moment is what is tried
        backup.sh("systemctl kill --signal=KILL nous-backup.service nous-backup-restic.service 2>/dev/null || true")
    backup.sh(EXCLUSIVE)
    assert backup.sh(f"ls {REPOSITORY}/locks")
    wait(lambda: backup.sh("systemctl is-active nous-backup.service nous-backup-restic.service || true").split() != ["active", "active"], "the end")
    code, text = backup.back_up()
    assert code == 0, text
    assert backup.drill() == (True, "")


@only_full("a dozen moments")
def test_at_random_moments(backup: Host) -> None:
    """While the log grows and is rotated, killed or not: what a backup has is every record once, and no drill fails."""
    seed = random.randrange(1 << 32)
    chosen = random.Random(seed)
    print(f"seed {seed}")
    had = 0
    for number in range(2, MOMENTS + 2):
        backup.sh("systemctl start --no-block nous-backup.service")
        moments = sorted((chosen.uniform(0, 4), what) for what in chosen.choice([["rotate"], ["kill"], ["rotate", "kill"]]))
        begun = time.monotonic()
        for moment, what in moments:
            time.sleep(max(begun + moment - time.monotonic(), 0))  # the moment is what is tried
            if what == "rotate":
                backup.sh(f"printf {number} > /run/rotate.new; mv /run/rotate.new /run/rotate")
            else:
                units = chosen.choice(["nous-backup.service nous-backup-restic.service", "nous-backup-restic.service", "nous-backup.service"])
                backup.sh(f"systemctl kill --signal=KILL {units} 2>/dev/null || true")
        wait(
            lambda: not {"active", "activating"} & {*backup.sh("systemctl is-active nous-backup.service nous-backup-restic.service || true").split()}, "the end"
        )
        if any(what == "kill" for _moment, what in moments):
            code, text = backup.back_up()
            assert code == 0, (moments, text)
        found = json.loads(backup.sh("python3 -", stdin=NUMBERS))
        assert found == list(range(1, len(found) + 1)), moments
        assert len(found) > had, "what the one before had, and more"
        had = len(found)
    print(f"{had} records, each once, in the last of {MOMENTS} backups")
    assert backup.drill() == (True, "")


def test_no_room(backup: Host) -> None:
    """Neither for the repository nor for what is copied aside: an event and a red row, and all is well again when there is."""
    backup.sh("head -c 90000000 /dev/urandom > /srv/repository/full 2>/dev/null || true; head -c 9000000 /dev/urandom > /srv/estate/more")
    code, text = backup.back_up()
    assert code == 1
    assert "No space left" in text or "no space" in text.lower(), text
    assert "failed" in backup.rows("offsite")["backup"][1]
    assert json.loads(backup.sh("/usr/local/sbin/nous-vm history --json"))["events"][-1]["result"] == "failed"
    backup.sh("rm /srv/repository/full /srv/estate/more")
    assert backup.back_up()[0] == 0
    assert "failure" not in backup.last()


def test_the_repository_is_gone(backup: Host) -> None:
    """Nothing is written in its place."""
    backup.sh(f"mv {REPOSITORY} {REPOSITORY}-away")
    assert "is it mounted?" in backup.back_up()[1]
    backup.sh(f"mkdir {REPOSITORY}")
    assert "it is gone" in backup.back_up()[1]
    assert backup.sh(f"ls -A {REPOSITORY}") == ""
    backup.sh(f"rmdir {REPOSITORY}; mv {REPOSITORY}-away {REPOSITORY}")


def test_another_password(backup: Host) -> None:
    backup.sh("cp /etc/nous-vm/backup/password /run/password; echo 'another password of nobody' > /etc/nous-vm/backup/password")
    assert "wrong password" in backup.back_up()[1]
    backup.sh("cat /run/password > /etc/nous-vm/backup/password")
    assert backup.back_up()[0] == 0


def test_flipped_bits(backup: Host) -> None:
    """In any pack of the repository: the drill tells."""
    backup.sh(f"cp -a {REPOSITORY} {REPOSITORY}-good")
    backup.sh("python3 -", stdin=FLIP)
    good, why = backup.drill()
    assert not good
    assert why
    assert backup.rows("offsite")["drill"][0] == "fail"
    backup.sh(f"rm -r {REPOSITORY}; mv {REPOSITORY}-good {REPOSITORY}")
    assert backup.drill() == (True, "")


def test_uninstall(backup: Host) -> None:
    backup.play()
    assert backup.sh("find /etc /usr/local /var/lib/nous-vm /var/cache -name '*offsite*' -o -name '*nous-backup*'") == ""
    assert backup.sh(f"ls {REPOSITORY}/config") == f"{REPOSITORY}/config"
