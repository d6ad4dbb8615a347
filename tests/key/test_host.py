"""The module as Ansible runs it on a host: its documented examples, and what of a key can be found where one looks for leaks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nous.vm.plugins.modules import oauth_key, oauth_key_info
from container import FLAGS

REPOSITORY = Path(__file__).parents[2]
IMAGE = os.environ.get("NOUS_VM_TEST_IMAGE", "nous-vm-host:debian-13-packages")
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
UNIT = "[Service]\nExecStart=sleep infinity\n"


class Host:
    """A container with systemd as its first process."""

    def __init__(self, container: str) -> None:
        self.container = container

    def run(self, *argv: str) -> str:
        done = subprocess.run(["docker", "exec", self.container, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def play(self, tasks: list[dict[str, Any]], *options: str, rc: int = 0) -> str:
        """Run tasks against it; return all that ansible-playbook printed."""
        play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        command = [PLAYBOOK, "--inventory", f"{self.container},", "--connection", "community.docker.docker", *options, "/dev/stdin"]
        done = subprocess.run(command, cwd=REPOSITORY, input=yaml.safe_dump(play), capture_output=True, text=True, check=False)
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout + done.stderr


@contextlib.contextmanager
def running(image: str) -> Iterator[Host]:
    container = f"nous-vm-key-test-{os.getpid()}-{image.rpartition(':')[2]}"
    subprocess.run(["docker", "run", "--detach", "--rm", "--name", container, *FLAGS, image], check=True, capture_output=True)
    try:
        host = Host(container)
        # Until its bus is there, systemctl cannot wait.
        wait = "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done; systemctl is-system-running --wait || true"
        assert host.run("timeout", "60", "sh", "-c", wait).strip() in ("running", "degraded")
        yield host
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with running(IMAGE) as host:
        host.run("sh", "-c", f"printf '{UNIT}' > /run/systemd/system/issuer.service && systemctl daemon-reload && systemctl start issuer.service")
        yield host


def test_bare_host() -> None:
    """No directory and no library: check mode foretells what would be done, and a run says what is missing."""
    options = {"path": "/etc/nous/keys/signing.pem", "jwks_path": "/etc/nous/jwks.json", "jwks_group": "nobody-yet"}
    tasks: list[dict[str, Any]] = [
        {"nous.vm.oauth_key": options, "register": "key"},
        {"ansible.builtin.assert": {"that": ["key is changed", "key.kid is none", "key.actions == ['create_directory', 'create_key', 'write_jwks']"]}},
    ]
    with running(IMAGE.removesuffix("-packages")) as host:
        assert "ModuleNotFoundError" in host.run("sh", "-c", "python3 -c 'import cryptography' 2>&1 || true")
        printed = host.play(tasks, "--check", "--diff")
        assert "(new) EdDSA" in printed
        assert "Failed to import the required Python library (cryptography)" in host.play(tasks[:1], rc=2)
        assert host.run("sh", "-c", "ls -d /etc/nous 2>/dev/null || echo absent") == "absent\n"


def test_examples(host: Host) -> None:
    """They make what they say, change nothing the second time, and rotate a key that is old enough."""
    examples = yaml.safe_load(oauth_key.EXAMPLES)
    assert "changed=2 " in host.play(examples)
    assert "changed=0 " in host.play(examples)
    kid = published(host)[0]["kid"]
    started = host.run("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "issuer.service")
    host.run("touch", "--date=31 days ago", "/etc/issuer/keys/signing.pem")
    assert "changed=3 " in host.play(examples)
    new, old = published(host)
    assert (old["kid"], "exp" in old, "exp" in new) == (kid, True, False)
    assert host.run("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "issuer.service") != started
    assert host.run("stat", "--format=%U:%G %a", "/etc/issuer/jwks.json") == "root:www-data 640\n"


def published(host: Host) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(host.run("cat", "/etc/issuer/jwks.json"))["keys"]
    return keys


def test_examples_of_info(host: Host) -> None:
    host.play(yaml.safe_load(oauth_key.EXAMPLES)[:1])
    host.run("touch", "--date=400 days ago", "/etc/nous/keys/signing.pem")
    printed = host.play(yaml.safe_load(oauth_key_info.EXAMPLES))
    assert "is 400 days old: run nous.vm.rotate_key" in printed


def test_nothing_private_is_to_be_found(host: Host) -> None:
    """At the highest verbosity, in a diff, on failure, in the log of invocations, in the process list and in temporary files."""
    task = {"nous.vm.oauth_key": {"path": "/etc/leak/keys/signing.pem", "jwks_path": "/etc/leak/jwks.json"}}
    again = {"nous.vm.oauth_key": {**task["nous.vm.oauth_key"], "rotation": "begin", "minimum_interval_days": 0}}
    wrong = {"nous.vm.oauth_key": {**task["nous.vm.oauth_key"], "algorithm": "RS256"}}
    pem = "/etc/leak/keys/signing.pem"

    printed = host.play([task], "-vvvvvv", "--diff")
    secrets = [host.run("cat", pem)]
    printed += host.play([again], "-vvvvvv", "--diff")
    secrets.append(host.run("cat", pem))
    printed += host.play([wrong], "-vvvvvv", "--diff", rc=2)
    printed += host.run("journalctl", "--output=json", "--no-pager")
    assert "rotation=begin" in printed  # the invocation is logged
    for secret in secrets:
        body = secret.splitlines()[1]
        assert body not in printed
        assert body[-40:] not in printed
        found = host.run("sh", "-c", f"grep -rlF -e '{body[-40:]}' /etc /root /home /tmp /var /run 2>/dev/null || true").split()
        assert found == ([pem] if secret == secrets[-1] else [])
