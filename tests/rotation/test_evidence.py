"""The evidence on a real host: the unit that signs, what it may do, and what root cannot hide from who has what had left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Host = Any
REPOSITORY = Path(__file__).parents[2]
NAME = "rotation-test"
UNIT = f"audit-checkpoint-{NAME}.service"
KEYS = f"/var/lib/nous-vm-checkpoint/{NAME}"
CHECKPOINTS = f"/var/log/nous-vm/checkpoints-{NAME}.jws"
SIGNED = {"audit_logrotate_checkpoint_key": f"{KEYS}/keys/1.pem", "audit_logrotate_checkpoint_jwks": f"{KEYS}/jwks.json"}


def make_key(host: Host, number: int) -> None:
    arguments = {"path": f"{KEYS}/keys/{number}.pem", "jwks_path": f"{KEYS}/jwks.json"}
    connection = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
    command = ["ansible", host.container, "-i", f"{host.container},", "-m", "nous.vm.oauth_key", "-a", json.dumps(arguments), "-e", json.dumps(connection)]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=True)


@pytest.fixture
def signed(host: Host, tmp_path: Path) -> Iterator[Host]:
    """The host, whose log is written to and whose checkpoints are signed."""
    host.run("apt-get", "install", "--yes", "--no-install-recommends", "python3-cryptography")
    make_key(host, 1)
    host.begin(rate=200)
    host.play_again(tmp_path / "executions", **SIGNED)
    yield host
    host.stop()
    host.play_again(tmp_path / "executions")
    host.sh(f"chattr -a {CHECKPOINTS}; rm -r {CHECKPOINTS} {KEYS}")


def verify(host: Host, *options: str) -> dict[str, Any]:
    done = host.run("nous-vm", "audit", "verify", "--name", NAME, "--json", *options, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["whole"] else 1)
    return found


def sign(host: Host) -> int:
    """Run the unit; return the number of checkpoints that there are."""
    host.run("systemctl", "start", UNIT)
    return int(host.out("sh", "-c", f"wc -l < {CHECKPOINTS}"))


def test_evidence(signed: Host, tmp_path: Path) -> None:
    host = signed
    count = sign(host)
    assert count >= 1
