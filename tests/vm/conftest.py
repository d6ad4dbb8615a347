# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real VM, booted from nothing but a disk of Debian and the user-data that nous.vm.cloud_init renders. Its files are kept in .cache/vm."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from controller import REPOSITORY, play, sh

from . import disk
from .machine import ADDRESS, OUTSIDE, SSH, Machine

NAME = "nous.example.org"
CACHE = REPOSITORY / ".cache/vm"
WORK = CACHE / "last"


class Nous:
    """The VM as its operator knows it: a host of the inventory, an endpoint, and somebody who calls it."""

    def __init__(self, machine: Machine, inventory: dict[str, Any]) -> None:
        self.machine, self.inventory = machine, inventory
        self.recorded: list[str] = []  # entry_hash of every audit record that a client was told of and that was flushed

    def play(self, playbook: str, *arguments: str, **variables: Any) -> str:
        options = " ".join(self.machine.options)
        connection = {"ansible_host": ADDRESS, "ansible_port": SSH, "ansible_user": "debian", "ansible_ssh_args": options}
        return play(playbook, {NAME: self.inventory | connection | variables}, WORK, *arguments)

    def call(self, tool: str = "note", **arguments: Any) -> dict[str, Any]:
        """Call a tool through the gate, from outside."""
        client: list[str | Path] = [sys.executable, REPOSITORY / "tests/clients/mcp_client.py", f"https://{NAME}", tool, json.dumps(arguments)]
        enrol = ["ssh", *self.machine.options, "-p", str(SSH), f"debian@{ADDRESS}", "sudo nous-vm clients enrol test --detach --json"]
        seen: dict[str, Any] = json.loads(sh(*client, f"--address={ADDRESS}", f"--ca={WORK / 'ca.crt'}", f"--enrol={shlex.join(enrol)}"))
        return seen

    def trust(self) -> None:
        """Take the VM's own authority, which signed the gate's certificate, to trust from here on."""
        root = self.machine.ssh("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt")
        (WORK / "ca.crt").write_text(root, encoding="utf-8")

    def put(self, path: Path) -> None:
        """Lay a file of the tests down where it is gone with the power."""
        self.machine.ssh(f"mkdir -p /run/test; cat > /run/test/{path.name} << 'END'\n{path.read_text(encoding='utf-8')}\nEND")

    def cut_when(self, moment: str, work: Callable[[], str]) -> None:
        """Have something done, and cut the power in the moment in which a condition comes true on the VM."""
        since = self.machine.printed()
        self.machine.ssh(f"systemd-run --quiet sh -c {shlex.quote(f'until {moment}; do :; done; echo cut here > /dev/ttyS0')}")
        with ThreadPoolExecutor() as pool:
            working = pool.submit(work)
            self.machine.wait(lambda: "cut here" in self.machine.console(since) or working.done(), moment)
            self.machine.cut_power()
        assert "cut here" in self.machine.console(since), f"{moment} never was: {working.result()[-3000:]}"

    def boot(self) -> None:
        """Switch it on and wait until it says that it is ready, or why not."""
        since = self.machine.printed()
        self.machine.power_on()
        self.ready(since)

    def ready(self, since: int) -> None:
        output = self.machine.wait_on_console(rf"nous     https://{NAME}|nous-vm-first-boot: .* \(attempt .*|Kernel panic.*", since)
        assert output[0].startswith("nous  "), output[0]


@pytest.fixture(scope="session")
def nous() -> Iterator[Nous]:
    if os.geteuid() != 0:
        pytest.fail("a disk with root's files is made and port 443 listened on: run it as root")
    if WORK.exists():
        shutil.rmtree(WORK)
    (WORK / "seed").mkdir(parents=True)
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", WORK / "key")
    sh("ansible-galaxy", "collection", "build", REPOSITORY / "collections/ansible_collections/nous/vm", "--output-path", WORK / "seed")
    for version in ("1.0.0", "1.0.1"):
        sh(REPOSITORY / "tests/standin/pack.py", "--git", f"--version={version}", WORK / "seed/nous.git")
    archive = next((WORK / "seed").glob("nous-vm-*.tar.gz"))
    inventory = {
        "caddy_gateway_hostname": NAME,
        "caddy_gateway_operator_cidrs": [f"{OUTSIDE}/32"],
        "caddy_gateway_tls": "internal",
        "nous_service_git_url": "file:///srv/nous.git",
        "nous_service_git_ref": "v1.0.0",
        # Emulated, the server takes more than a minute to start.
        "nous_service_ready_timeout": 300,
        "nous_service_deploy_timeout": 900,
        "nous_vm_collection": f"file:///srv/{archive.name}",
        "nous_vm_collection_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "nous_vm_cloud_config": {
            "ssh_authorized_keys": [(WORK / "key.pub").read_text(encoding="utf-8").strip()],
            "apt": {"preserve_sources_list": True},
            "mounts": [["LABEL=cidata", "/srv", "iso9660", "ro,nofail"]],
        },
    }
    output = play("cloud_init", {NAME: inventory}, WORK)
    assert " failed=0 " in output, output
    shutil.copyfile(WORK / "user-data" / f"{NAME}.yml", WORK / "seed/user-data")
    (WORK / "seed/meta-data").write_text(f"instance-id: {NAME}\n", encoding="utf-8")
    sh("genisoimage", "-quiet", "-output", WORK / "seed.iso", "-volid", "cidata", "-rational-rock", WORK / "seed")
    machine = Machine(disk.make("debian-13", CACHE), WORK / "seed.iso", WORK / "key", WORK)
    try:
        yield Nous(machine, inventory)
    finally:
        machine.cut_power()
        machine.disk.unlink()
