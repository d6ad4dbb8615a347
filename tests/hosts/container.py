"""How a test host is run: what systemd and the roles need of a container. (Molecule and `up` say the same in their own words.)"""

from __future__ import annotations

import os

import pytest

FLAGS = [
    *("--cap-add", "SYS_ADMIN", "--cap-add", "LINUX_IMMUTABLE", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=private"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock"),
]
MIGRATE = ["--sysctl", "net.ipv4.tcp_migrate_req=1"]  # /proc/sys is not the gate's to write in a container
CACHES = ["--volume", "nous-vm-cache-uv:/var/cache/uv", "--volume", "nous-vm-cache-pip:/root/.cache/pip"]


def need_root() -> None:
    """Fail a test that enters a host's network namespace where it may not."""
    if os.geteuid() != 0:
        pytest.fail("these tests enter the hosts' network namespaces: run them as root")
