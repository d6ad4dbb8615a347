# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback brief: what changed, failed or has something to say is printed, the rest counted."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.callback import brief

COLLECTIONS = Path(__file__).parents[7]
PLAYBOOK = """
- name: A play
  hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Nothing new
      ansible.builtin.command: "true"
      changed_when: false
    - name: Not for this host
      ansible.builtin.command: "true"
      when: false
    - name: Change something
      ansible.builtin.command: "true"
    - name: Print something
      ansible.builtin.debug: {msg: {link: "https://nous.example.org", list: [1, 2]}}
    - name: Print a table
      nous.vm.show:
        lines: ["a line"]
        rows: [{status: fail, part: audit, name: guard, detail: "gone\\e[2J"}]
    - name: Fail in a loop
      ansible.builtin.fail: {msg: "not {{ item }}"}
      loop: [this, that]
      ignore_errors: true
    - name: Let a program fail
      ansible.builtin.command: sh -c 'echo why >&2; exit 3'
"""


def run(folder: Path, *arguments: str, callback: str = "nous.vm.brief") -> str:
    """Run the playbook on one host; return what is printed."""
    (folder / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    (folder / "ansible.cfg").touch()
    own = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_STDOUT_CALLBACK": callback}
    own |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    argv = ["ansible-playbook", "play.yml", "-i", "one,", *arguments]
    done = subprocess.run(argv, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


def test_one_screen(tmp_path: Path) -> None:
    printed = run(tmp_path).replace("The command exited with a non-zero return code.", "non-zero return code")  # as ansible-core 2.21 has it
    assert printed.splitlines()[:-1] == [
        "A play",
        "  changed  Change something",
        "           Print something",
        "           link: https://nous.example.org",
        "           list:",
        "           - 1",
        "           - 2",
        "a line",
        "  fail    audit: guard: gone\\x1b[2J",
        "  failed   Fail in a loop",
        "           not this",
        "  failed   Fail in a loop",
        "           not that",
        "  FAILED   Let a program fail",
        "           non-zero return code",
        "           why",
        "",
        "one: 1 changed, 4 unchanged, 1 skipped, FAILED",
        "With -v, all tasks and what they returned are printed.",
    ]
    assert " in all: " in printed.splitlines()[-1]


@pytest.mark.parametrize("callback", ["ansible.builtin.default", "ansible.builtin.minimal", "ansible.builtin.oneline"])
def test_the_table_is_printed_whatever_the_callback(tmp_path: Path, callback: str) -> None:
    assert "\na line\n  fail    audit: guard: gone\\x1b[2J\n" in run(tmp_path, callback=callback)


def test_verbose_is_what_everybody_knows(tmp_path: Path) -> None:
    printed = run(tmp_path, "-v")
    assert "TASK [Nothing new]" in printed
    assert "skipping: [one]" in printed


class Shown:
    """A display that keeps what is printed."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()

    def display(self, line: str, **_options: Any) -> None:
        self.lines.put(line)


def test_a_long_task_says_that_it_goes_on_and_stops_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "FIRST", 0.01)
    monkeypatch.setattr(brief, "LATER", 0.01)
    callback = brief.CallbackModule()
    shown = callback._display = Shown()
    callback._part = "nous_service"
    callback._watch("Build the release")
    assert shown.lines.get(timeout=30) == "nous_service"
    for _each in range(3):
        assert shown.lines.get(timeout=30).startswith("  ...      Build the release goes on, 0.")
    done = callback._going
    callback._watch("The next one")
    assert done.is_set()
    callback._going.set()


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10, "0:10"), (75.9, "1:15"), (3600, "60:00")])
def test_a_duration_is_readable(seconds: float, text: str) -> None:
    assert brief.clock(seconds) == text
