#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's roles cost and give, beside a plain bash installer that does the same with pip (install.sh), in one run.

Each has a host of its own with the distribution's packages and nothing in any cache, the same archives and the same package index, and they
take turns, so that a busy machine slows both. Ours is python_runtime and nous_service alone: no gate, key or log of the site. R is a run of Ansible with
minimal facts and one task on our host, at the same time.

What ours may cost beside the plain one, and no more: one start of the server, one copy of the database, and R. Whatever is over is marked, and the
exit code is 1.
"""

from __future__ import annotations

import functools
import json
import os
import re
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
ONE_TASK = """
- hosts: all
  gather_facts: true
  gather_subset: ["!all"]
  tasks:
    - ansible.builtin.file: {path: /etc/nous-vm-bench, state: directory, mode: "0755"}
"""
PAUSE, LATER = 3.0, 0.2  # seconds that a rollback may pause traffic, and that an outage may last beyond a start
TASK = re.compile(r"^TASK \[(?:nous\.vm\.)?(.+)\]")
LEAST = 0.5  # seconds of a part that is printed
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
        self.parts: dict[str, float] = {}

    def start(self) -> None:
        image = f"nous-vm-host:{self.platform}-packages"
        subprocess.run(["docker", "run", "--detach", "--name", self.container, *COLD, image], check=True, capture_output=True)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        self.put("/var/log/nous/audit.jsonl", "")
        self.sh("chmod 0666 /var/log/nous/audit.jsonl")

    def install(self, archive: Path) -> None:
        """Apply the roles; keep how long each task took, and what the deployment itself prints of its parts."""
        self.parts, task, begun, printed = {}, "start of Ansible", time.monotonic(), ""
        with self.began(PLAY, archive) as running:
            assert running.stdout
            for line in running.stdout:
                printed += line
                if found := TASK.match(line):
                    now = time.monotonic()
                    self.parts[task] = self.parts.get(task, 0) + now - begun
                    task, begun = found[1], now
                if found := re.search(r'\\"parts\\": ({.*?})', line):
                    self.parts |= {f"  {part}": took for part, took in json.loads(found[1].replace('\\"', '"')).items()}
        assert running.returncode == 0, printed

    def began(self, play: str, archive: Path) -> subprocess.Popen[str]:
        extra = {
            "ansible_connection": "community.docker.docker",
            "ansible_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            "nous_service_archive": str(archive),
        }
        path = self.work / "play.yml"
        path.write_text(play, encoding="utf-8")
        command = ["ansible-playbook", "-v", str(path), f"--inventory={self.container},", f"--extra-vars={json.dumps(extra)}"]
        environment = os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}  # the deployment's parts are read from it
        return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)

    def one_task(self) -> None:
        with self.began(ONE_TASK, self.release) as running:
            printed = running.communicate()[0]
        assert running.returncode == 0, printed

    def roll_back(self) -> None:
        document = json.loads(self.sh("nous-vm rollback --json"))
        self.parts = {f"  {part}": took for part, took in document["parts"].items()}

    def starts(self) -> float:
        """Return how long a start of the server takes, until it answers."""
        self.__dict__.pop("start_takes", None)
        return self.start_takes

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

    def roll_back(self) -> None:
        """It has no other way than to install what was there before."""
        self.install(self.release)


def seconds(do: Callable[[], object]) -> float:
    start = time.monotonic()
    do()
    return time.monotonic() - start


class Table:
    """The rows, and what is over its bound."""

    def __init__(self) -> None:
        self.over: list[str] = []

    def row(self, name: str, ours: float, plain: float | None = None) -> None:
        print(f"{name:46s} {ours:8.2f}" + (f" {plain:8.2f} {ours / plain:6.2f}" if plain is not None else ""), flush=True)

    def bound(self, name: str, value: float, most: float) -> None:
        if value > most:
            self.over.append(name)
        print(f"  {name}: {value:.2f}, at most {most:.2f}  {'OVER' if value > most else 'ok'}", flush=True)

    def parts(self, host: Ours) -> None:
        for part, took in host.parts.items():
            if took >= LEAST or part.startswith("  "):
                print(f"    {part:42s} {took:8.2f}", flush=True)


def measure(platform: str, work: Path) -> list[str]:
    ours, plain = Ours(platform, work), Plain(platform, work)
    first, second, table = ours.release, ours.pack("1.1.0"), Table()
    print(f"{platform}, load before {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; seconds\n{'':46s} {'ours':>8s} {'plain':>8s} {'ratio':>6s}", flush=True)
    try:
        for host in (ours, plain):
            host.start()
        install = [seconds(functools.partial(host.install, first)) for host in (ours, plain)]
        table.row("fresh install", *install)
        table.parts(ours)
        base = statistics.median(seconds(ours.one_task) for _ in range(RUNS))
        start = statistics.median(ours.starts() for _ in range(RUNS))
        table.row("R: minimal facts and one task", base)
        table.row("a start of the server", start)
        table.bound("fresh install, ours minus plain", install[0] - install[1], start + base)
        again = [[seconds(functools.partial(host.install, first)) for host in (ours, plain)] for _ in range(RUNS)]
        nothing = [statistics.median(each) for each in zip(*again, strict=True)]
        table.row(f"run with nothing to do, median of {RUNS}", *nothing)
        table.parts(ours)
        table.bound("nothing to do, ours minus plain", nothing[0] - nothing[1], start + base)
        upgrade = [seconds(functools.partial(host.install, second)) for host in (ours, plain)]
        table.row("upgrade", *upgrade)
        table.parts(ours)
        copy, paused = ours.parts["  copy"], ours.parts["  paused"]
        table.bound("upgrade, ours minus plain", upgrade[0] - upgrade[1], start + copy + base)
        # The waits are in steps of 0.05 s, and each part is begun by a program.
        table.bound(
            "paused but for drain, copy and start", paused - sum(ours.parts[f"  {each}"] for each in ("drain and stop", "copy", "start and checks")), 0.5
        )
        table.row("rollback", *[seconds(host.roll_back) for host in (ours, plain)])
        table.parts(ours)
        table.bound("a rollback pauses traffic", ours.parts["  paused"], PAUSE)
        outages = [host.outages() for host in (ours, plain)]
        table.row(f"outage after kill -9, median of {KILLS}", *[statistics.median(answered for answered, _ in each) for each in outages])
        table.row("  until it is started again", *[statistics.median(started for _, started in each) for each in outages])
        table.bound("outage beyond a start", statistics.median(started for _, started in outages[0]), LATER)
    finally:
        for host in (ours, plain):
            subprocess.run(["docker", "rm", "--force", "--volumes", host.container], check=True, capture_output=True)
    return [f"{platform}: {name}" for name in table.over]


def main() -> int:
    with tempfile.TemporaryDirectory() as work:
        over = [each for platform in PLATFORMS for each in measure(platform, Path(work))]
    print("\n".join([f"{len(over)} over their bound", *over]))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
