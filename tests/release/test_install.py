# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of docs/install.md, run as they stand there, and quoted everywhere else as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from clone import run
from controller import REPOSITORY

INSTALL = REPOSITORY / "docs/install.md"
COMMAND = re.compile(r"^(?:    |\$ )?(ansible-galaxy collection install (?=.*(?:nous|PWD))[^`\n]+)$", re.MULTILINE)
COMMANDS = COMMAND.findall(INSTALL.read_text(encoding="utf-8"))
# What ssh is asked to run at the host of the example, is run here.
SSH = """#!/bin/sh
case "$*" in *git@git.example.org*"git-upload-pack '/ops/nous.vm.git'") exec git-upload-pack "$CLONE" ;; *) echo "ssh: $*" >&2; exit 1 ;; esac
"""


@pytest.fixture
def environment(tree: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ssh").write_text(SSH, encoding="utf-8")
    (tmp_path / "ssh").chmod(0o755)
    own = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return own | {"GIT_SSH_COMMAND": str(tmp_path / "ssh"), "CLONE": str(tree)}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("plain")
def test_it_installs_as_written(tree: Path, tmp_path: Path, environment: dict[str, str], command: str) -> None:
    run("bash", "-c", command, cwd=tree.parent, **environment)
    assert run("git", "status", "--porcelain", cwd=tree) == ""
    assert (tmp_path / ".ansible/collections/ansible_collections/nous/vm/roles/nous_service/tasks/main.yml").is_file()


def test_it_installs_by_the_requirements(tmp_path: Path, environment: dict[str, str]) -> None:
    example = REPOSITORY / "examples/requirements.yml"
    (quoted,) = re.findall(r"^```yaml\n(collections:.*?)^```", INSTALL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(quoted) == yaml.safe_load(example.read_text(encoding="utf-8"))
    run("ansible-galaxy", "collection", "install", "-r", example, cwd=tmp_path, **environment)
    assert (tmp_path / ".ansible/collections/ansible_collections/nous/vm/roles/nous_service/tasks/main.yml").is_file()
    assert "1.0.0" in run("ansible-galaxy", "collection", "list", "nous.vm", cwd=tmp_path, **environment)


def test_there_are_all_three_ways() -> None:
    assert len(COMMANDS) >= 4
    assert [way for way in ("git+file://", "git+ssh://", ".tar.gz") if not any(way in command for command in COMMANDS)] == []


def test_whoever_else_says_how_quotes_it() -> None:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", cwd=REPOSITORY)
    pages = [REPOSITORY / name for name in listed.splitlines()]
    other = {path.name: set(COMMAND.findall(path.read_text(encoding="utf-8"))) - set(COMMANDS) for path in pages}
    assert {name: commands for name, commands in other.items() if commands} == {}
