#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the site costs, as a multiple of R: a run with minimal facts and one task, over the same ssh, at the same time.

Needs the host of `make up`. Each figure is the median of three runs that take turns with those of R, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 3
R = """
- hosts: nous
  become: true
  gather_facts: true
  gather_subset: ["!all"]
  tasks:
    - ansible.builtin.file: {path: /srv, state: directory}
"""


def seconds(*argv: str) -> float:
    environment = os.environ | {"PATH": f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"}
    start = time.monotonic()
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - start


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as one:
        one.write(R)
        one.flush()
        runs = {
            "R: minimal facts and one task": ["ansible-playbook", one.name],
            "site, nothing to do": ["ansible-playbook", "playbooks/site.yml"],
            "site, nothing to do, check mode": ["ansible-playbook", "playbooks/site.yml", "--check"],
            "verify": ["ansible-playbook", "playbooks/verify.yml"],
        }
        took: dict[str, list[float]] = {name: [] for name in runs}
        for _round in range(ROUNDS):
            for name, argv in runs.items():
                took[name].append(seconds(*argv, "-i", "inventories/local"))
    base = statistics.median(took["R: minimal facts and one task"])
    print(f"{'median of ' + str(ROUNDS):40s} {'seconds':>8s} {'of R':>6s}")
    for name, times in took.items():
        print(f"{name:40s} {statistics.median(times):8.2f} {statistics.median(times) / base:6.1f}")


if __name__ == "__main__":
    main()
