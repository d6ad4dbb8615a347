"""How a test host is run: what systemd and the roles need of a container. (Molecule and `up` say the same in their own words.)

With NOUS_VM_KEEP=1, which `make test-one` sets, the host that a suite shares is kept and used again: the suite applies its roles to it once more
instead of starting at nothing. A host that one test makes for itself is new each time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FLAGS = [
    *("--cap-add", "SYS_ADMIN", "--cap-add", "LINUX_IMMUTABLE", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=private"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock"),
]
MIGRATE = ["--sysctl", "net.ipv4.tcp_migrate_req=1"]  # /proc/sys is not the gate's to write in a container
CACHES = ["--volume", "nous-vm-cache-uv:/var/cache/uv", "--volume", "nous-vm-cache-pip:/root/.cache/pip"]
KEPT = "-kept"
ROOT = Path(__file__).resolve().parents[2]


def need_root() -> None:
    """Fail a test that enters a host's network namespace where it may not."""
    if os.geteuid() != 0:
        pytest.fail("these tests enter the hosts' network namespaces: run them as root")


def shared_name(stem: str) -> str:
    """Return the name of the container that all tests of a suite share: one of this checkout that is kept if NOUS_VM_KEEP=1, else of this run."""
    return f"{stem}-{ROOT.name}{KEPT}" if os.environ.get("NOUS_VM_KEEP") == "1" else f"{stem}-{os.getpid()}"


def docker(*arguments: str) -> str:
    """Return what a command of docker printed; nothing if it failed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def start(name: str, image: str, *options: str) -> None:
    """Start the container of this name if there is one, kept or crashed, and it is not of an older image; else run a new one."""
    found = docker("container", "inspect", "--format={{.Image}}", name)
    if found and found == docker("image", "inspect", "--format={{.Id}}", image):
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
        return
    if found:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)
    subprocess.run(["docker", "run", "--detach", "--name", name, *options, image], check=True, capture_output=True)


def remove(name: str) -> None:
    """Remove a container, unless it is to be kept."""
    if not name.endswith(KEPT):
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)
