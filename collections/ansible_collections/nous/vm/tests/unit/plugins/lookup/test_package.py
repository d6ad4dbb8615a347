# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup package: what of the host's package a role installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.nous.vm.plugins.lookup import package

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


def test_the_terms_are_subpackages(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.LookupModule, "set_options", lambda *_arguments, **_options: None)  # it is loaded without Ansible's loader here
    assert package.LookupModule().run(["one"]) == package.entries(["one"])
    for name in ("absent", "three"):
        with pytest.raises(AnsibleLookupError, match=rf"nous\.vm\.package: '{name}' is no subpackage\."):
            package.LookupModule().run([name])


def test_a_playbook_finds_it() -> None:
    argv = [sys.executable, "-m", "ansible", "adhoc", "localhost", "--connection=local", "--module-name=ansible.builtin.debug"]
    argv.append("--args=msg={{ lookup('nous.vm.package') | map(attribute='path') | join(' ') }}")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(Path(package.__file__).parents[5]), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert f"{CORE}/cli.py" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder below which what the lookup lists was put."""
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


def test_it_is_documented() -> None:
    documentation: dict[str, Any] = yaml.safe_load(package.DOCUMENTATION)
    assert documentation["options"]["_terms"]["elements"] == "str"
    assert "byte_compile" in yaml.safe_load(package.EXAMPLES)[0]["nous.vm.files"]
