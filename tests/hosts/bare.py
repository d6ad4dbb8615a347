# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container as the bare VM that a person has: reached by ssh alone, with a key, as a user who may become root."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from container import CACHES, FLAGS, docker

IMAGE = "nous-vm-host:debian-13"


class Bare(NamedTuple):
    """Where it is, and this machine as it sees it; the key that it lets in as ops."""

    address: str
    gateway: str
    key: Path


@contextlib.contextmanager
def bare(name: str, folder: Path) -> Iterator[Bare]:
    """A bare host in a network of the same name, both gone at the end. The key is made in the folder."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    docker("rm", "--force", "--volumes", name)
    if not docker("network", "ls", "--quiet", "--filter", f"name=^{name}$"):
        docker("network", "create", name)
    try:
        docker("run", "--detach", "--name", name, "--hostname", "nous", "--network", name, *FLAGS, *CACHES, IMAGE)
        docker("exec", name, "timeout", "60", "sh", "-c", "until systemctl is-system-running --wait > /dev/null 2>&1; do :; done")
        public = key.with_suffix(".pub").read_text(encoding="ascii").strip()
        docker("exec", name, "sh", "-c", f"echo '{public}' > /home/ops/.ssh/authorized_keys && chown ops: /home/ops/.ssh/authorized_keys")
        (network,) = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"].values()
        yield Bare(network["IPAddress"], network["Gateway"], key)
    finally:
        docker("rm", "--force", "--volumes", name)
        docker("network", "rm", name)
