# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that `make up` brought up, and a bare one."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container import FLAGS

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL = "nous-vm-local"
# What a run leaves behind even if it changes nothing, its own temporary files and who logged in; and what the host's daily timers do meanwhile.
PASSING = ["/proc", "/sys", "/dev", "/run", "/tmp", "/home/ops", "/root/.ansible", "/var/backups", "/var/cache", "/var/log"]
PASSING += [f"/var/lib/{name}" for name in ("apt", "caddy", "logrotate", "nous", "nous-vm/watch", "sudo", "systemd")]


class Host:
    """A container with systemd as its first process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(["docker", "exec", self.name, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def wait(self) -> None:
        """Wait until all has been started that is to be."""
        self.run("timeout", "60", "sh", "-c", "until systemctl is-system-running --wait > /dev/null 2>&1; do :; done")

    def invocations(self) -> dict[str, str]:
        """Return which start of each unit it is that runs."""
        return {unit: self.run("systemctl", "show", "--value", "--property=InvocationID", unit) for unit in ("nous.service", "caddy.service")}

    def files(self) -> str:
        """Return every file of the host with its time, size, owner and mode."""
        prune = [word for path in PASSING for word in ("-path", path, "-prune", "-o")]
        return self.run("find", "/", "-xdev", *prune, "-not", "-type", "d", "-printf", "%p %T@ %s %u:%g %m\\n")


class Run:
    """What a playbook printed, changed and cost."""

    def __init__(self, done: subprocess.CompletedProcess[str], executions: dict[str, list[str]]) -> None:
        self.rc = done.returncode
        self.text = done.stdout + done.stderr
        self.changed = sum(int(line.split("changed=")[1].split()[0]) for line in done.stdout.splitlines() if "unreachable=" in line)
        self.executions = executions

    def __repr__(self) -> str:
        return self.text[-6000:]


def play(playbook: str | Path, inventory: str | Path, *arguments: str, cwd: Path = REPOSITORY, collections: Path | None = None, **variables: Any) -> Run:
    """Run a playbook as an operator would, and count what it executes."""
    counted = REPOSITORY / ".cache" / f"executions-{uuid.uuid4().hex}.json"
    environment = os.environ | {
        "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "executions",
        "ANSIBLE_NOCOLOR": "1",
        "NOUS_VM_EXECUTIONS": str(counted),
    }
    if collections is not None:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    command = ["ansible-playbook", str(playbook), "-i", str(inventory), *extra, *arguments]
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return Run(done, json.loads(counted.read_text(encoding="utf-8")) if counted.exists() else {})
    finally:
        counted.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def host() -> Host:
    """The host of `make up`, which has to be up."""
    return Host(LOCAL)


@pytest.fixture
def bare() -> Iterator[Host]:
    """A host that nothing was done to."""
    bare = Host(f"nous-vm-bare-{os.getpid()}")
    subprocess.run(["docker", "run", "--detach", "--rm", "--name", bare.name, *FLAGS, "nous-vm-host:debian-13"], check=True, capture_output=True)
    try:
        bare.wait()
        yield bare
    finally:
        subprocess.run(["docker", "rm", "--force", bare.name], check=True, capture_output=True)
