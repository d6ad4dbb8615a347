# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the host's package a role installs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.plugin_utils import package

CORE = "/usr/local/lib/nous-vm/nous_vm"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a core and two subpackages, one of which has commands and a folder within."""
    for name in ("__init__.py", "cli.py", "commands/__init__.py", "commands/check.py", "one/__init__.py", "one/check.py", "one/commands/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"# {name}\n", encoding="utf-8")
    for name in ("two/__init__.py", "one/commands/deploy.py", "one/__pycache__/check.py", "one/notes.md", "three/module.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("", encoding="utf-8")
    monkeypatch.setattr(package, "SOURCE", tmp_path)
    return tmp_path


def paths(*subpackages: str) -> list[str]:
    return [entry["path"] for entry in package.entries(subpackages)]


def test_the_core_is_always_there(source: Path) -> None:
    entries = package.entries([])
    assert [entry["path"] for entry in entries] == [
        *("/usr/local/lib/nous-vm", CORE, f"{CORE}/commands"),
        *(f"{CORE}/__init__.py", f"{CORE}/cli.py", f"{CORE}/commands/__init__.py", f"{CORE}/commands/check.py", "/usr/local/sbin/nous-vm"),
        *("/etc/bash_completion.d", "/etc/bash_completion.d/nous-vm"),
    ]
    assert [entry.get("state") for entry in entries] == ["directory"] * 3 + [None] * 5 + ["directory", None]
    assert entries[4] == {"path": f"{CORE}/cli.py", "content": "# cli.py\n"}


def test_a_subpackage_comes_with_its_commands_and_nothing_else(source: Path) -> None:
    added = set(paths("one")) - set(paths())
    assert added == {f"{CORE}/one{name}" for name in ("", "/commands", "/__init__.py", "/check.py", "/commands/__init__.py", "/commands/deploy.py")}
    assert set(paths("one", "two")) - set(paths("one")) == {f"{CORE}/two", f"{CORE}/two/__init__.py"}


def test_a_directory_is_listed_before_what_lies_in_it(source: Path) -> None:
    listed = paths("one", "two")
    assert all(listed.index(path.rpartition("/")[0]) < position for position, path in enumerate(listed) if path.startswith(f"{CORE}/"))


def test_the_command_is_isolated_and_executable(source: Path) -> None:
    (command,) = [entry for entry in package.entries([]) if entry["path"] == "/usr/local/sbin/nous-vm"]
    assert command["mode"] == "0755"
    assert command["content"].startswith("#!/usr/bin/python3 -I\n")
    compile(command["content"], "nous-vm", "exec")


@pytest.mark.parametrize("name", ["absent", "three"])
def test_what_is_no_subpackage_is_rejected(source: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"^'{name}', which is no subpackage$"):
        package.entries([name])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder below which what is listed was put."""
    for entry in package.entries([]):
        path = tmp_path / entry["path"].lstrip("/")
        if entry.get("state") == "directory":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(entry["content"].replace("/usr/local/", f"{tmp_path}/usr/local/"), encoding="utf-8")
            path.chmod(int(entry.get("mode", "0644"), 8))
    return tmp_path


def test_installed_it_runs(installed: Path) -> None:
    done = subprocess.run([installed / "usr/local/sbin/nous-vm", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: nous-vm COMMAND" in done.stdout


@pytest.mark.parametrize(("words", "completed"), [(["his"], ["history"]), (["history", "--c"], ["--count"]), (["nothing", ""], [])])
def test_bash_completes_commands_and_options(installed: Path, words: list[str], completed: list[str]) -> None:
    script = 'source "$1"; shift; COMP_WORDS=(nous-vm "$@"); COMP_CWORD=$#; _nous_vm; printf "%s\\n" "${COMPREPLY[@]}"'
    argv: list[str | Path] = ["bash", "-c", script, "bash", installed / "etc/bash_completion.d/nous-vm", *words]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split() == completed
