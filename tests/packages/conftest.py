# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with a repository of their own, so that real apt and dpkg install something small, and no mirror is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container import FLAGS
from forms import PLATFORMS

REPOSITORY = Path(__file__).resolve().parents[2]
# Two packages: demo has a service, slow takes as long to configure as /run/slow is there. Their repository is a folder.
BUILD = r"""
rm -rf /srv/repository && mkdir -p /srv/repository && cd /srv/repository
make() {
  mkdir -p "build/$1/DEBIAN" && cat > "build/$1/DEBIAN/postinst" && chmod 0755 "build/$1/DEBIAN/postinst"
  printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n' "$1" > "build/$1/DEBIAN/control"
  dpkg-deb --build --root-owner-group "build/$1" "$1.deb" > /dev/null
  { dpkg-deb --field "$1.deb"; echo "Filename: ./$1.deb"; stat --format='Size: %s' "$1.deb"; sha256sum "$1.deb" | sed 's/ .*//; s/^/SHA256: /'; echo; } \
    >> Packages
}
mkdir -p build/demo/usr/lib/systemd/system
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > build/demo/usr/lib/systemd/system/demo.service
make demo <<'E'
#!/bin/sh
set -e
systemctl daemon-reload
deb-systemd-helper enable demo.service
deb-systemd-invoke start demo.service
E
make slow <<'E'
#!/bin/sh
touch /run/slow-began
while [ -e /run/slow ]; do sleep 0.1; done
E
rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/repository ./' > /etc/apt/sources.list
"""
# What a test before may have left.
CLEAN = """
rm -f /run/slow /run/slow-began /run/locked /usr/sbin/policy-rc.d* /etc/apt/sources.list.d/*
systemctl stop beside.service
dpkg --purge --force-all demo slow
rm -rf /var/lib/systemd/deb-systemd-helper-enabled
"""


class Host:
    """A bare container with systemd as its first process."""

    def __init__(self, platform: str) -> None:
        self.name = f"nous-vm-packages-test-{platform}-{os.getpid()}"
        subprocess.run(["docker", "run", "--detach", "--name", self.name, *FLAGS, f"nous-vm-host:{platform}"], check=True, capture_output=True)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        self.sh(BUILD)

    def sh(self, script: str, check: bool = True) -> str:
        done = subprocess.run(["docker", "exec", self.name, "sh", "-eu", "-c", script], capture_output=True, text=True, check=False, timeout=300)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def beside(self, *argv: str) -> None:
        """Run a program beside what follows, in the unit beside.service."""
        run = ["docker", "exec", self.name, "systemd-run", "--quiet", "--collect", "--unit=beside", *argv]
        subprocess.run(run, check=True, capture_output=True)

    def packages(self, *names: str, check_mode: bool = False, **more: Any) -> dict[str, Any]:
        """Apply the module; return its result."""
        ansible = [str(Path(sys.executable).with_name("ansible")), self.name, "-i", f"{self.name},", "-c", "community.docker.docker"]
        call = ["-m", "nous.vm.packages", "-a", json.dumps({"name": names, **more}), *(["--check"] if check_mode else [])]
        variables = ["-e", "ansible_python_interpreter=/usr/bin/python3"]
        settings = {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        environment = os.environ | settings
        done = subprocess.run([*ansible, *call, *variables], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"][self.name]
        return found


@pytest.fixture(scope="session", params=PLATFORMS)
def machine(request: pytest.FixtureRequest) -> Iterator[Host]:
    host = Host(request.param)
    yield host
    subprocess.run(["docker", "rm", "--force", "--volumes", host.name], check=True, capture_output=True)


@pytest.fixture
def host(machine: Host) -> Host:
    machine.sh(f"set +e; {CLEAN}", check=False)
    return machine
