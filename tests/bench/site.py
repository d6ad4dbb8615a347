#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the site costs, as a multiple of R: a run with minimal facts and one task, over the same ssh, at the same time; and beside pyinfra.

Needs the host of `make up`. Each time is the median of three runs that take turns, so that a busy machine slows all of them. Executions and headers
are those of a run with nothing to do. The first run is the site's on a new host: no package, nothing of nous, the machine's caches warm.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))

from container import CACHES, FLAGS
from rival import Rival

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL, FRESH = "nous-vm-local", f"nous-vm-bench-site-{os.getpid()}"
FRESH_ADDRESS = "127.0.80.9"
ROUNDS, STARTS = 3, 20
SITE = ["ansible-playbook", "playbooks/site.yml", "-i", "inventories/local"]
HEADER = re.compile(r"^(TASK|RUNNING HANDLER) \[", re.MULTILINE)
BASE, NOTHING, PYINFRA = "R: minimal facts and one task", "site, nothing to do", "pyinfra, nothing to do"
R = """
- hosts: nous
  become: true
  gather_facts: true
  gather_subset: ["!all"]
  tasks:
    - ansible.builtin.file: {path: /srv, state: directory}
"""
# User and system time of a command, mean of some: argv is how often, and the command.
CPU = """
import resource, subprocess, sys
times = int(sys.argv[1])
for _ in range(times):
    subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) / times * 1000)
"""


def run(argv: list[str], **environment: str) -> tuple[float, str]:
    """Run a command of the controller; return the seconds that it took and what it printed, or end the bench."""
    path = {"PATH": f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    start = time.monotonic()
    done = subprocess.run(argv, cwd=REPOSITORY, env=os.environ | path | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    took = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}:\n{done.stdout}{done.stderr}")
    return took, done.stdout


def in_container(container: str, *argv: str, stdin: str = "") -> str:
    return subprocess.run(["docker", "exec", "--interactive", container, *argv], input=stdin, capture_output=True, text=True, check=True).stdout


def cost() -> tuple[int, int]:
    """Return the module executions and the headers of a run with nothing to do."""
    with tempfile.TemporaryDirectory() as directory:
        counted = Path(directory, "executions.json")
        callback = {"ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/callbacks"), "ANSIBLE_CALLBACKS_ENABLED": "executions"}
        _, text = run(SITE, **callback, NOUS_VM_EXECUTIONS=str(counted))
        (executed,) = json.loads(counted.read_text(encoding="utf-8")).values()
    return len(executed), len(HEADER.findall(text))


def take_turns(rival: Rival) -> dict[str, float]:
    """Return the median seconds of each of the runs that are compared."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as one:
        one.write(R)
        one.flush()
        runs = {
            BASE: ["ansible-playbook", one.name, "-i", "inventories/local"],
            NOTHING: SITE,
            PYINFRA: rival.command,
            "site, nothing to do, check mode": [*SITE, "--check"],
            "verify": ["ansible-playbook", "playbooks/verify.yml", "-i", "inventories/local"],
        }
        took: dict[str, list[float]] = {name: [] for name in runs}
        for _round in range(ROUNDS):
            for name, argv in runs.items():
                took[name].append(run(argv)[0])
    return {name: statistics.median(times) for name, times in took.items()}


def first_run() -> float:
    """Return the seconds that the site takes on a host that nothing was done to."""
    ports = [word for port in (22, 80, 443) for word in ("--publish", f"{FRESH_ADDRESS}:{port}:{port}")]
    options = ["--hostname", "nous", "--network", "nous-vm", *ports, *FLAGS, *CACHES]
    subprocess.run(["docker", "run", "--detach", "--name", FRESH, *options, "nous-vm-host:debian-13"], check=True, capture_output=True)
    try:
        in_container(FRESH, "timeout", "60", "sh", "-c", "until systemctl is-system-running --wait > /dev/null 2>&1; do :; done")
        public = (REPOSITORY / ".cache/local/id_ed25519.pub").read_text(encoding="utf-8")
        in_container(FRESH, "install", "--owner=ops", "--mode=0600", "/dev/stdin", "/home/ops/.ssh/authorized_keys", stdin=public)
        trust = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"
        return run([*SITE, "--extra-vars", json.dumps({"ansible_host": FRESH_ADDRESS, "ansible_ssh_common_args": trust})])[0]
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", FRESH], check=True, capture_output=True)


def help_cpu() -> str:
    """Return the CPU milliseconds of `nous-vm --help` on the host, and of a Python that does nothing, which no command goes below."""
    command, nothing = (float(in_container(LOCAL, "python3", "-", str(STARTS), *argv, stdin=CPU)) for argv in (["nous-vm", "--help"], ["python3", "-Ic", ""]))
    return f"{command:.0f} (python3 -I: {nothing:.0f})"


def main() -> None:
    rival = Rival(LOCAL)
    rival.install()
    resources = rival.learn()
    rival.check()
    executions, headers = cost()
    load = os.getloadavg()[0]
    medians = take_turns(rival)
    base = medians[BASE]
    print(f"load before {load:.1f} on {os.cpu_count()} CPUs; the site and pyinfra manage {resources}")
    print(f"{'median of ' + str(ROUNDS):40s} {'seconds':>8s} {'of R':>6s}")
    for name, seconds in medians.items():
        print(f"{name:40s} {seconds:8.2f} {seconds / base:6.1f}")
    first = first_run()
    print(f"{'site, first run, once':40s} {first:8.2f} {first / base:6.1f}")
    ratio = medians[NOTHING] / medians[PYINFRA]
    print(f"\nsite, nothing to do: {executions} executions, {headers} headers, {medians[NOTHING] / base:.1f} R, {ratio:.2f} of pyinfra")
    print(f"nous-vm --help: {help_cpu()} CPU ms")


if __name__ == "__main__":
    main()
