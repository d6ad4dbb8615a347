#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many hosts cost one controller: hosts.py [COUNT], 4 by default. The site on as many containers as that, a first run and then runs with nothing to do.

The containers are on the same machine and share its processors with the controller: a first run is mostly theirs. The controller's own share is the processor
time of its processes, and the memory is the most that they had together (PSS), both as the kernel counts them.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "clients"))
sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "gate"))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

from controller import REPOSITORY
from host import SITE, Host

ROUNDS = 3
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) ", re.MULTILINE)
SHARE = re.compile(r"^Pss: +(\d+)", re.MULTILINE)


class Run(NamedTuple):
    """A run: how long it took, the controller's processor time, in seconds, and its memory, in MB."""

    seconds: float
    processor: float
    memory: float

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s, processor of the controller {self.processor:6.1f} s, memory {self.memory:5.0f} MB"


class Member(Host):
    """One host of several."""

    def __init__(self, number: int, work: Path, release: Path | None) -> None:
        self.platform, self.work, self.container = "debian-13", work, f"nous-vm-bench-hosts-{os.getpid()}-{number}"
        self.release = release or self.pack("1.0.0")


class Memory(threading.Thread):
    """The most memory that a process and all below it had together. A fork of Ansible's has a session of its own."""

    def __init__(self, top: int) -> None:
        super().__init__(daemon=True)
        self.top, self.most, self.ended = top, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.3):
            self.most = max(self.most, sum(map(share, self.tree())))

    def tree(self) -> set[int]:
        """Return the numbers of the process and of those below it."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        found, more = set[int](), {self.top}
        while more:
            found |= more
            more = {child for child, parent in parents.items() if parent in more}
        return found


def share(process: int) -> float:
    """Return the memory of a process in MB, its share of what it has together with others; 0 if it has ended."""
    with suppress(OSError):
        if match := SHARE.search(Path(f"/proc/{process}/smaps_rollup").read_text()):
            return int(match[1]) / 1024
    return 0.0


def play(members: list[Member], forks: int, strategy: str = "linear") -> tuple[Run, int]:
    """Run the site; return what it cost, and how many hosts changed."""
    inventory = ",".join(each.container for each in members) + ","
    extra = json.dumps(SITE | {"nous_service_archive": str(members[0].release)})
    command = ["ansible-playbook", "playbooks/site.yml", f"--inventory={inventory}", f"--extra-vars={extra}", f"--forks={forks}"]
    environment = os.environ | {"PATH": f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STRATEGY": strategy}
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        memory = Memory(process.pid)
        memory.start()
        _pid, status, used = os.wait4(process.pid, 0)
        took = time.monotonic() - begun
        memory.ended.set()
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(text[-6000:])
    return Run(took, used.ru_utime + used.ru_stime, memory.most), sum(int(changed) > 0 for _host, changed in RECAP.findall(text) if _host != "localhost")


def report(what: str, runs: list[Run], hosts: int) -> None:
    middle = Run(*(statistics.median(each) for each in zip(*runs, strict=True)))
    print(f"{what:46} {middle}; a host {middle.seconds / hosts:5.1f} s, {middle.processor / hosts:4.1f} s", flush=True)


def measure(members: list[Member]) -> None:
    count = len(members)
    first, changed = play(members, count)
    report(f"{count} hosts, first run, {count} forks", [first], count)
    if changed != count:
        sys.exit(f"{changed} of {count} hosts changed")
    shapes = [(members[:1], 1, "linear"), (members, 1, "linear"), (members, count, "linear"), (members, count, "host_pinned")]
    taken: list[list[Run]] = [[] for _each in shapes]
    for _round in range(ROUNDS):  # in turns, so that a busy machine slows all of them
        for (some, forks, strategy), runs in zip(shapes, taken, strict=True):
            run, changed = play(some, forks, strategy)
            if changed:
                sys.exit(f"{changed} hosts changed in a run with nothing to do")
            runs.append(run)
    for (some, forks, strategy), runs in zip(shapes, taken, strict=True):
        report(f"{len(some)} hosts, nothing to do, {forks} forks, {strategy}", runs, len(some))


def main() -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as directory:
        members: list[Member] = []
        try:
            for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 4):
                members.append(Member(number, Path(directory), members[0].release if members else None))
                members[-1].boot()
            measure(members)
        finally:
            for each in members:
                subprocess.run(["docker", "rm", "--force", "--volumes", each.container], check=False, capture_output=True)


if __name__ == "__main__":
    main()
