# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools of this repository keep in two places is the same in both."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import typecheck
from controller import REPOSITORY

RUN = runpy.run_path(str(REPOSITORY / "tests/run"), run_name="run")
GLOBALS = RUN["run"].__globals__
SHELL = re.compile(rb"#!/(usr/)?bin/(env )?(ba|da)?sh\b")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What steps of tests print is not in the place of what those of this run printed."""
    monkeypatch.setitem(GLOBALS, "PRINTED", tmp_path / "printed")


def test_every_suite_is_in_one_room() -> None:
    named = Counter(suite for _minutes, suites in RUN["BUDGETS"].values() for suite in suites)
    assert {suite: named[suite] for suite in RUN["SUITES"]} == dict.fromkeys(RUN["SUITES"], 1)
    assert max(named.values()) == 1


def test_contributing_has_the_budgets() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, re.MULTILINE)) == {room: str(minutes) for room, (minutes, _suites) in RUN["BUDGETS"].items()}


def first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(100)


def test_shellcheck_reads_every_script() -> None:
    assert sorted(RUN["SHELL"].split()) == [name for name in typecheck.files() if not name.endswith(".j2") and SHELL.match(first_line(REPOSITORY / name))]


@pytest.mark.parametrize(("length", "code"), [(72, 0), (73, 1)])
def test_a_subject_has_at_most_72_characters(length: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(f"{'x' * length}\n\n{'why ' * 30}\n", encoding="utf-8")
    assert subprocess.run([REPOSITORY / "tests/subject", tmp_path / "message"], capture_output=True, check=False).returncode == code


def test_what_needs_a_host_waits_for_its_image(tmp_path: Path) -> None:
    """The images are built beside the first batch, and a second one that needs none does not wait either."""
    step, ready, other = RUN["Step"], tmp_path / "ready", tmp_path / "other"
    images = [step("hosts", "images", f"until [ -e {other} ]; do [ $SECONDS -lt 30 ]; sleep 0.01; done; touch {ready}")]
    batches = [[step("unit", "plugins", "true")], [step("lint", "ruff", f"touch {other}")], [step("up", "host", f"[ -e {ready} ]")]]
    results = RUN["side_by_side"](images, batches)
    assert [(result.step.name, result.passed) for result in results] == [("images", True), ("plugins", True), ("host", True), ("ruff", True)]


def test_a_failure_to_build_the_images_ends(tmp_path: Path) -> None:
    results = RUN["side_by_side"]([RUN["Step"]("hosts", "images", "false")], [[RUN["Step"]("up", "host", f"touch {tmp_path / 'tried'}")]])
    assert [result.passed for result in results] == [False, True]


def test_what_only_computes_gets_what_the_others_leave() -> None:
    step = RUN["Step"]
    batches = [[step("lint", "ruff", "nice")], [step("unit", "plugins", "nice")]]
    printed = {result.step.suite: int(result.said) for result in RUN["side_by_side"]([step("hosts", "images", "true")], batches) if result.said}
    assert printed["lint"] == printed["unit"] + 5


def test_without_groups_of_the_kernel_nice_does() -> None:
    behind = RUN["BEHIND"].replace("/proc/", "/nowhere/")
    done = subprocess.run(["bash", "-euc", f"nice; {behind}nice"], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert (after, done.stderr) == (before + 5, "")


def test_an_interrupted_run_begins_nothing_more(tmp_path: Path) -> None:
    """A step of a session of its own is ended, though the terminal does not reach it."""
    program = f"""
import os, pathlib, runpy, signal, threading
run = runpy.run_path({str(REPOSITORY / "tests/run")!r}, run_name="run")
signal.signal(signal.SIGINT, run["stop"])
run["run"].__globals__["PRINTED"] = pathlib.Path({str(tmp_path)!r}, "printed")
step = run["Step"]
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
run["side_by_side"]([step("hosts", "images", "true")], [[step("lint", "long", "sleep 600"), step("lint", "next", "touch {tmp_path / "next"}")]])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert not (tmp_path / "next").exists()
