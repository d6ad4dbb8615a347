#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's roles cost and give, beside a plain bash installer that does the same with pip (install.sh), in one run.

Each has a host of its own with the distribution's packages and nothing in any cache, the same archives and the same package index, and they
take turns, so that a busy machine slows both. Ours is python_runtime and nous_service alone: no gate, key or log of the site.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "gate"))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

from container import FLAGS, MIGRATE
from controller import REPOSITORY
from forms import PLATFORMS
from host import Host

COLD = [*FLAGS, *MIGRATE]  # without the caches that test hosts share
RUNS, KILLS = 3, 5
PLAY = """
- hosts: all
  gather_facts: false
  vars:
    nous_service_python: "{{ python_runtime_interpreter }}"
    nous_service_uv: "{{ python_runtime_uv_home }}/bin/uv"
    nous_service_build_environment: "{{ python_runtime_installer_environment }}"
    nous_service_issuer: https://nous.example.org
    nous_service_source: archive
  roles: [nous.vm.python_runtime, nous.vm.nous_service]
"""
# Kill the server as often as asked and print the seconds until the next request was answered, asking every 20 ms, and until the server was started
# again, which leaves out what its own start takes. Each kill counts as the first in a while: systemd waits longer from one to the next.
KILL = """
import os, signal, socket, subprocess, sys, time
where, times = sys.argv[1], int(sys.argv[2])
def show(name):
    return int(subprocess.run(["systemctl", "show", "--value", f"--property={name}", "nous.service"], capture_output=True, text=True).stdout)
def answered():
    with socket.socket(socket.AF_UNIX if where.startswith("/") else socket.AF_INET) as asking:
        asking.settimeout(60)
        try:
            asking.connect(where if where.startswith("/") else (where, 8088))
            asking.sendall(b"GET /.well-known/oauth-protected-resource HTTP/1.1\\r\\nHost: nous.example.org\\r\\nConnection: close\\r\\n\\r\\n")
            return asking.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False
assert answered()
for _ in range(times):
    pid = show("MainPID")
    subprocess.run(["systemctl", "reset-failed", "nous.service"], check=True)
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while not answered():
        time.sleep(0.02)
    print(time.monotonic() - begun, show("ExecMainStartTimestampMonotonic") / 1e6 - begun)
"""


class Ours(Host):
    """The roles, against a container."""

    where = "/run/nous-proxy/mcp.sock"

    def __init__(self, platform: str, work: Path) -> None:
        super().__init__(platform, work)
        self.container = f"nous-vm-bench-{type(self).__name__.lower()}-{platform}-{os.getpid()}"
        self.play_file = work / "play.yml"
        self.play_file.write_text(PLAY, encoding="utf-8")

    def start(self) -> None:
        image = f"nous-vm-host:{self.platform}-packages"
        subprocess.run(["docker", "run", "--detach", "--name", self.container, *COLD, image], check=True, capture_output=True)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        self.put("/var/log/nous/audit.jsonl", "")
        self.sh("chmod 0666 /var/log/nous/audit.jsonl")

    def install(self, archive: Path) -> None:
        extra = {
            "ansible_connection": "community.docker.docker",
            "ansible_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            "nous_service_archive": str(archive),
        }
        command = ["ansible-playbook", str(self.play_file), f"--inventory={self.container},", f"--extra-vars={json.dumps(extra)}"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr

    def outages(self) -> list[list[float]]:
        """Return, for each kill, the seconds until the next answer and until the next start."""
        return [[float(word) for word in line.split()] for line in self.sh(f"python3 - {self.where} {KILLS}", stdin=KILL).splitlines()]


class Plain(Ours):
    """The bash installer, on its host."""

    where = "127.0.0.1"

    def start(self) -> None:
        super().start()
        export = ["uv", "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--project", str(REPOSITORY / "tests/standin")]
        self.put("/srv/requirements.txt", subprocess.run(export, check=True, capture_output=True, text=True).stdout)
        self.put("/srv/install.sh", (Path(__file__).parent / "install.sh").read_text(encoding="utf-8"))

    def install(self, archive: Path) -> None:
        subprocess.run(["docker", "cp", "--quiet", archive, f"{self.container}:/srv/{archive.name}"], check=True)
        self.sh(f"PIP_CERT=/etc/ssl/certs/ca-certificates.crt bash /srv/install.sh /srv/{archive.name} /srv/requirements.txt")


def seconds(do: Callable[[], object]) -> float:
    start = time.monotonic()
    do()
    return time.monotonic() - start


def measure(platform: str, work: Path) -> None:
    hosts = [Ours(platform, work), Plain(platform, work)]
    first, second = hosts[0].release, hosts[0].pack("1.1.0")
    rows: dict[str, list[float]] = {}
    load = os.getloadavg()[0]
    try:
        for host in hosts:
            host.start()
        rows["fresh install"] = [seconds(functools.partial(host.install, first)) for host in hosts]
        again = [[seconds(functools.partial(host.install, first)) for host in hosts] for _ in range(RUNS)]
        rows[f"run with nothing to do, median of {RUNS}"] = [statistics.median(each) for each in zip(*again, strict=True)]
        rows["upgrade"] = [seconds(functools.partial(host.install, second)) for host in hosts]
        outages = [host.outages() for host in hosts]
        rows[f"outage after kill -9, median of {KILLS}"] = [statistics.median(answered for answered, _ in each) for each in outages]
        rows["of that, until it is started again"] = [statistics.median(started for _, started in each) for each in outages]
    finally:
        for host in hosts:
            subprocess.run(["docker", "rm", "--force", "--volumes", host.container], check=True, capture_output=True)
    print(f"{platform}, load before {load:.1f} on {os.cpu_count()} CPUs; seconds")
    print(f"{'':42s} {'ours':>8s} {'plain':>8s} {'ratio':>6s}")
    for name, (ours, plain) in rows.items():
        print(f"{name:42s} {ours:8.2f} {plain:8.2f} {ours / plain:6.2f}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        for platform in PLATFORMS:
            measure(platform, Path(work))


if __name__ == "__main__":
    main()
