# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new VM, as a container with systemd and the real cloud-init: what it is given as user-data is all that is done to it.

The MCP client connects in the host's network namespace; so this runs as root.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container import CACHES, FLAGS, MIGRATE, need_root
from controller import REPOSITORY, sh

HERE = Path(__file__).parent
PLATFORMS = os.environ.get("NOUS_VM_TEST_PLATFORMS", "debian-13").split()
NAME = "nous.example.org"
VENDOR, STRANGER = "160.79.104.9", "203.0.113.5"
PATIENCE = 600  # seconds within which what is waited for happens on a busy machine, or something is broken


class Host:
    """A new VM."""

    def __init__(self, platform: str, work: Path) -> None:
        self.image, self.work = f"nous-vm-cloud:{platform}", work
        self.container = f"nous-vm-cloud-test-{platform}-{os.getpid()}"
        sh("docker", "build", "--build-arg", f"BASE=nous-vm-host:{platform}-packages", "--tag", self.image, HERE)

    def create(self, files: Path, user_data: Path) -> None:
        """Make the machine, give it a disk with user-data, and leave it off."""
        sh("docker", "create", "--tty", "--name", self.container, "--hostname", "nous", *FLAGS, *MIGRATE, *CACHES, self.image)
        (self.work / "meta-data").write_text("instance-id: the-first\n", encoding="utf-8")
        for source, target in (
            (f"{files}/.", "/srv"),
            (user_data, "/var/lib/cloud/seed/nocloud/user-data"),
            (self.work / "meta-data", "/var/lib/cloud/seed/nocloud/meta-data"),
        ):
            sh("docker", "cp", "--quiet", source, f"{self.container}:{target}")

    def remove(self) -> None:
        sh("docker", "rm", "--force", "--volumes", self.container, check=False)

    def sh(self, script: str, check: bool = True) -> str:
        return sh("docker", "exec", self.container, "sh", "-eu", "-c", script, check=check)

    def wait(self, script: str) -> str:
        """Wait until a command succeeds and return what it printed."""
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(["docker", "exec", self.container, "sh", "-eu", "-c", script], capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"waited {PATIENCE} s for {script}; {self.journal()[-6000:]}"
            time.sleep(0.2)
        return self.sh(script)

    def journal(self) -> str:
        return self.sh("journalctl --quiet --no-pager --output=cat --boot --unit=nous-vm-first-boot", check=False)

    def reboot(self) -> None:
        sh("docker", "restart", self.container)

    def console(self) -> str:
        return sh("docker", "logs", self.container)

    def call(self, tool: str, arguments: str = "{}") -> dict[str, Any]:
        """Call a tool through the gate, from a listed address, as a remote client does."""
        authority = self.work / "ca.crt"
        self.sh(f"ip address replace {VENDOR}/32 dev lo; ip address replace {STRANGER}/32 dev lo")
        authority.write_text(self.sh("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"), encoding="utf-8")
        pid = sh("docker", "inspect", "--format={{.State.Pid}}", self.container)
        client: list[str | Path] = [sys.executable, REPOSITORY / "tests/clients/mcp_client.py", f"https://{NAME}", tool, arguments]
        addresses = ["--address=127.0.0.1", f"--source-address={VENDOR}", f"--browser-source={STRANGER}", f"--ca={authority}"]
        addresses += [f"--enrol=docker exec {self.container} nous-vm clients enrol test --detach --json"]
        seen: dict[str, Any] = json.loads(sh("nsenter", "--net", f"--target={pid}", *client, *addresses))
        return seen


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the new host gets from a folder of its own, /srv, and otherwise from the world: the collection, and the server's repository."""
    made = tmp_path_factory.mktemp("files")
    sh("ansible-galaxy", "collection", "build", REPOSITORY / "collections/ansible_collections/nous/vm", "--output-path", made)
    (made / "collection.sha256").write_text(hashlib.sha256(next(made.glob("nous-vm-*.tar.gz")).read_bytes()).hexdigest(), encoding="utf-8")
    sh(REPOSITORY / "tests/standin/pack.py", "--git", made / "nous.git")
    return made


@pytest.fixture(scope="session")
def inventory(files: Path) -> dict[str, Any]:
    """What the inventory says of the new host."""
    return {
        "caddy_gateway_hostname": NAME,
        "caddy_gateway_operator_cidrs": ["203.0.113.7/32"],
        "caddy_gateway_tls": "internal",
        "nous_service_git_url": "file:///srv/nous.git",
        "nous_service_git_ref": "v1.0.0",
        "nous_vm_collection": f"file:///srv/{next(files.glob('*.tar.gz')).name}",
        "nous_vm_collection_sha256": (files / "collection.sha256").read_text(encoding="utf-8"),
    }


@pytest.fixture(scope="module", params=PLATFORMS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    need_root()
    made = Host(request.param, tmp_path_factory.mktemp("host"))
    try:
        yield made
    finally:
        made.remove()
