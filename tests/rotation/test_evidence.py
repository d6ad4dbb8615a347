"""The evidence on a real host: the unit that signs, what it may do, and what root cannot hide from who has what had left.

That each attack is named with file and record is shown by unit tests; here is what only a host has: systemd, its descriptors and credentials, the journal.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import only_on

Host = Any
REPOSITORY = Path(__file__).parents[2]
CONNECTION = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
NAME = "rotation-test"
DIRECTORY = f"/var/log/{NAME}"
LOG = f"{DIRECTORY}/audit.jsonl"
UNIT = f"audit-checkpoint-{NAME}"
FOLDER = f"/var/lib/nous-vm-checkpoint/{NAME}"
CHECKPOINTS = f"/var/log/nous-vm/checkpoints-{NAME}.jws"
# What the account of the unit tries by name and over the network.
ATTEMPTS = f"""
for file in {LOG} {LOG}.1 /var/log/nous-vm/trail.jsonl {CHECKPOINTS} {FOLDER}/keys/1.pem; do head -c1 $file && echo read $file; done
for file in {LOG} {CHECKPOINTS} /run/x; do true >> $file && echo wrote $file; done
for number in 3 4 5 6 7 8; do true > /proc/self/fd/$number && echo truncated $number; done
python3 -c 'import socket; socket.socket()' && echo a socket
id --user
"""

MAKE_KEY = """
import sys
sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.key.jwk import generate_pem
open(sys.argv[1], "xb").write(generate_pem("EdDSA", 0))
"""
KEY = {"audit_logrotate_checkpoint_key": f"{FOLDER}/keys/1.pem", "audit_logrotate_checkpoint_jwks": f"{FOLDER}/jwks.json"}


def ansible(host: Host, *words: str, fails: bool = False, **variables: object) -> str:
    """Run a program of Ansible; return what it printed, without line breaks within it."""
    inventory = json.dumps(CONNECTION | {"audit_logrotate_name": NAME} | variables)
    done = subprocess.run([*words, "-i", f"{host.container},", "-e", inventory], cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.fixture
def signed(host: Host, tmp_path: Path) -> Iterator[Host]:
    """The host, whose log is written to and whose checkpoints are signed."""
    host.begin(rate=500)
    host.run("apt-get", "install", "--yes", "--no-install-recommends", "python3-cryptography")
    arguments = {"path": KEY["audit_logrotate_checkpoint_key"], "jwks_path": KEY["audit_logrotate_checkpoint_jwks"]}
    ansible(host, "ansible", host.container, "-m", "nous.vm.oauth_key", "-a", json.dumps(arguments))
    host.play_again(tmp_path / "executions", **KEY)
    yield host
    host.stop()
    host.sh(
        f"systemctl disable --now {UNIT}.timer; cd /etc/systemd/system"
        f"; rm -rf {UNIT}.* audit-logrotate-{NAME}.service.d/checkpoint.conf /etc/nous-vm/audit/*.checkpoints"
        f"; chattr -a {CHECKPOINTS}; rm -r {CHECKPOINTS} {FOLDER}; systemctl daemon-reload"
    )


def verify(host: Host, *options: str) -> dict[str, Any]:
    """Return the parts by their names, with what is wrong."""
    done = host.run("nous-vm", "audit", "verify", "--name", NAME, "--json", *options, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode == 0) == found["whole"]
    return {part["part"]: part for part in found["parts"]}


def broken(parts: dict[str, Any]) -> list[str]:
    return [name for name, part in parts.items() if not part["whole"]]


def sign(host: Host) -> int:
    """Run the unit; return how many checkpoints there are."""
    host.run("systemctl", "start", UNIT)
    return int(host.sh(f"wc -l < {CHECKPOINTS}"))


def rotate(host: Host) -> None:
    """Rotate, and wait for the checkpoint that this begins."""
    before = int(host.sh(f"wc -l < {CHECKPOINTS}"))
    assert host.rotate(), host.printed()
    host.sh(f"until [ $(wc -l < {CHECKPOINTS}) -gt {before} ]; do sleep 0.05; done")


@only_on("debian-13", "units have the attacks; here is what systemd and the journal have a part in")
def test_evidence(signed: Host, tmp_path: Path) -> None:
    host = signed
    for _rotation in range(2):
        rotate(host)
        sign(host)
    host.stop()
    sign(host)
    parts = verify(host)
    assert broken(parts) == []
    assert re.search(r"3 files, no chained record; [5-9] checkpoints compared, 0 records are newer", parts["log audit.jsonl"]["notes"][-1])

    host.sh(f"journalctl --output=cat --identifier=nous-vm-checkpoint > /root/left; cp -a {DIRECTORY} {CHECKPOINTS} /root/")
    assert f"{host.container} : ok=4 changed=1 " in fetch(host, tmp_path)
    assert f"{host.container} : ok=3 changed=0 " in fetch(host, tmp_path)

    host.put("/root/pinned.json", next((tmp_path / "audit").glob("*/jwks.json")).read_text(encoding="utf-8"))

    what_the_account_can(host)
    root_makes_it_anew(host, tmp_path)
    another_key(host)


def fetch(host: Host, folder: Path, fails: bool = False) -> str:
    audit = str(folder / "audit")
    return ansible(host, "ansible-playbook", "nous.vm.fetch_audit", fails=fails, nous_vm_hosts="all", nous_vm_audit=audit)


def what_the_account_can(host: Host) -> None:
    """It reads and appends by what it was given, and nothing else."""
    place = f"/run/systemd/system/{UNIT}.service.d"
    host.put(f"{place}/attempts.sh", ATTEMPTS)
    host.put(f"{place}/attempts.conf", f"[Service]\nExecStart=\nExecStart=/bin/sh {place}/attempts.sh\nSyslogIdentifier=attempts\n")
    host.sh(f"chmod -R a+rX {place}; systemctl daemon-reload; systemctl start {UNIT}; rm -r {place}; systemctl daemon-reload")
    found = host.sh("journalctl --output=cat --identifier=attempts").splitlines()
    assert [line for line in found if line.startswith(("read", "wrote", "truncated", "a socket"))] == []
    assert len([line for line in found if "ermi" in line]) == 14, found  # each of them was tried
    assert 61184 <= int(found[-1]) <= 65519, found  # an account for the time of the run


def another_key(host: Host) -> None:
    """The key before it signs that it is replaced; then it can go."""
    host.run("python3", "-c", MAKE_KEY, f"{FOLDER}/keys/2.pem")  # as the site does, which takes longer
    host.sh(f"sed -i s/keys_1.pem/keys_2.pem/ /etc/systemd/system/{UNIT}.service; systemctl daemon-reload")
    host.sh(f"systemctl start {host.writer}; until [ $(stat -c %s {LOG}) -gt 100000 ]; do sleep 0.1; done; systemctl stop {host.writer}")
    before = int(host.sh(f"wc -l < {CHECKPOINTS}"))
    assert sign(host) - before <= 2
    host.sh(f"rm {FOLDER}/keys/1.pem; echo '{{}}' >> {LOG}")
    sign(host)
    assert broken(verify(host, "--jwks", "/root/pinned.json")) == []


def names_it(log: dict[str, Any]) -> bool:
    """Tell whether the records that are named, those that one checkpoint signed together, are those with the record 7 of the newest archive."""
    begins = (log["segment"], log["record"] <= 7) == ("audit.jsonl.1", True) or log["segment"] == "audit.jsonl.2.gz"
    return begins and re.match(r"from here up to record \d+( of audit.jsonl(.1)?)?: not what checkpoint", log["sentence"]) is not None


def root_makes_it_anew(host: Host, tmp_path: Path) -> None:
    """An edited archive and new checkpoints by the host's own key are consistent; what had left and what was fetched name file and record."""
    host.sh(f'chattr -i {LOG}.1; sed -i \'7s/"number": \\([0-9]*\\)/"number": 9\\1/\' {LOG}.1')
    assert names_it(verify(host)["log audit.jsonl"])
    host.sh(f"chattr -a {CHECKPOINTS}; : > {CHECKPOINTS}; chattr +a {CHECKPOINTS}")
    sign(host)
    assert broken(verify(host)) == []
    assert names_it(verify(host, "--left", "/root/left", "--jwks", "/root/pinned.json")["log audit.jsonl"])
    found = fetch(host, tmp_path, fails=True)
    assert "checkpoints.jws: record 1 is not what was fetched" in found
    assert ".jsonl: record 7 is not what was fetched" in found
