#!/usr/bin/env python3
"""Make the locks of what is installed on a host by pip: locks.py, after a version in them was changed. Needs a package index.

Each line is one package at one version with the SHA-256 of its wheels for Linux with glibc on the machines and Pythons that the collection supports; all
others would make user-data larger than some clouds take.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/nous/vm"
LOCKS = [COLLECTION / "roles/python_runtime/files/uv.txt", COLLECTION / "playbooks/files/ansible-core.txt"]
MACHINES, PYTHONS, GLIBC = ("x86_64", "aarch64"), (12, 13, 14), 39
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Host  # noqa: E402 - found by the line above

HOSTS = [Host(f"3.{python}", machine, GLIBC) for machine in MACHINES for python in PYTHONS]


def lock(requirement: str) -> list[str]:
    """Return the lines of a lock, the wheel that fits best for each kind of host."""
    command: list[str | Path] = [
        Path(sys.executable).with_name("uv"),
        "pip",
        "compile",
        "-",
        "--quiet",
        "--universal",
        "--python-version",
        "3.12",
        "--format",
        "pylock.toml",
    ]
    found = tomllib.loads(subprocess.run(command, input=requirement, capture_output=True, text=True, check=True).stdout)
    lines = []
    for package in found["packages"]:
        wheels = {each["url"].rpartition("/")[2]: each["hashes"]["sha256"] for each in package["wheels"]}
        hashes = set()
        for host in HOSTS:
            fitting = [(rank, name) for name in wheels if (rank := host.rank(name))]
            hashes |= {wheels[max(fitting)[1]]} if fitting else set()
        assert hashes, f"{package['name']} has no wheel"
        lines.append(" ".join([f"{package['name']}=={package['version']}", *(f"--hash=sha256:{each}" for each in sorted(hashes))]))
    return lines


if __name__ == "__main__":
    for path in LOCKS:
        wanted = sys.argv[1:] or re.findall(f"^{path.stem}==[^ ]+", path.read_text(encoding="utf-8"), re.MULTILINE)
        (given,) = [each for each in wanted if each.startswith(f"{path.stem}==")]
        path.write_text("\n".join(lock(given)) + "\n", encoding="utf-8")
