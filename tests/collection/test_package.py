# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's package reaches what others can influence in one way each: what a linter would see, if it knew the rules of this house."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "collections/ansible_collections/nous/vm/plugins/module_utils/nous_vm"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]
LINES, METHODS = 300, 15

# What stands for each raw call, by its full name or the beginning of it.
ONE_WAY = {
    "open": "foreign.read_file, or atomic.write",
    "os.open": "foreign.open_file, or atomic.write",
    "io.open": "foreign.open_file",
    "fcntl.": "locks.held, or inodes",
    "subprocess.": "programs.run",
    "os.system": "programs.run",
    "os.popen": "programs.run",
    "os.exec": "programs.run",
    "os.spawn": "programs.run",
    "pty.": "programs.run",
    "http.client.": "peers.ask",
    "urllib.request": "peers.ask",
    "socket.create_connection": "network or peers",
    "ssl.": "peers.tls",
    ".read_text": "foreign.read_file, or atomic.read_json",
    ".read_bytes": "foreign.read_file, or atomic.read_json",
    ".write_text": "atomic.write",
    ".write_bytes": "atomic.write",
    ".open": "foreign.open_file, or atomic.write",
}
# Who may call what, and why. The modules that are the one way come first.
ALLOWED: dict[str, dict[str, str]] = {
    "foreign.py": {"os.open": "it is the way"},
    "programs.py": {"subprocess.": "it is the way"},
    "peers.py": {"socket.create_connection": "it is the way", "ssl.": "it is the way", "open": "the kernel's name spaces"},
    "atomic.py": {"os.open": "it is the way", "open": "it is the way", ".read_bytes": "it reads what it wrote"},
    "locks.py": {"os.open": "it is the way", "fcntl.": "it is the way"},
    "inodes.py": {"fcntl.": "it is the way", "os.open": "flags are of a descriptor"},
    "events.py": {"os.open": "the trail is appended to, not replaced", ".open": "the trail is root's own"},
    "health.py": {"os.open": "the null device, for a part's own standard streams"},
    "cli.py": {"os.open": "the null device, when nobody reads", "open": "the package's own modules"},
    "cgroups.py": {".read_text": "the kernel's files", "open": "the kernel's files"},
    "network.py": {".read_text": "the kernel's files", ".read_bytes": "the kernel's files"},
    "processes.py": {".read_text": "the kernel's files", ".read_bytes": "the kernel's files"},
    "boot/first_boot.py": dict.fromkeys(ONE_WAY, "runs alone, before the package is on the host"),
    "boot/ready.py": {".read_bytes": "root's own configuration", ".read_text": "the message that it wrote"},
    "key/check.py": {".read_bytes": "root's own configuration"},
    "offsite/configuration.py": {".read_bytes": "root's own configuration"},
    "offsite/sets.py": {"os.open": "files of any size, no part of whose path is a link; what is copied aside, in root's own folder", "open": "the same"},
    "build/configuration.py": {".read_bytes": "root's own configuration"},
    "deploy/configuration.py": {".read_bytes": "root's own configuration"},
    "audit/archives.py": {"open": "archives, immutable in root's own folder, of any size", "os.open": "the same"},
    "audit/cut.py": {"open": "the log, in root's own folder", "os.open": "the same: cut in place, which atomic.write cannot"},
    "audit/journal.py": {"open": "what it wrote", ".read_bytes": "the same", "os.open": "made before the freeze, written in it"},
    "audit/guard.py": {"open": "the log and its newest archive, in root's own folder, of any size"},
    "audit/mend.py": {"open": "the log, in root's own folder, of any size"},
    "audit/room.py": {"os.open": "the log, in root's own folder, to reserve space"},
    "audit/log.py": {"open": "the log, in root's own folder, of any size"},
    "audit/segment.py": {"os.open": "the log, in root's own folder, of any size"},
    "build/advisories.py": {".open": "a part of an archive that an operator names, of a bounded size"},
    "build/archive.py": {".open": "an archive of any size, in the sandbox that fetches"},
    "build/download.py": {".open": "a file of any size, in the sandbox that fetches; its URL is opened there too"},
    "build/fetch.py": {".write_text": "in the sandbox that fetches"},
    "build/git.py": {".write_text": "in the sandbox that fetches"},
    "build/make.py": {".write_text": "in the sandbox that builds"},
    "build/stream.py": {"open": "a file of any size, in a folder of root's that is being made", "os.open": "the same"},
    "build/unit.py": {"open": "the two ends of a pipe"},
    "deploy/backups.py": {".open": "a backup in root's own folder, of any size", "os.open": "a new backup, of any size"},
    "deploy/copies.py": {".open": "runs as the server's account, in a sandbox", "open": "the same", "os.open": "the same"},
    "gateway/counted.py": {"os.open": "the record is appended to, not replaced"},
    "gateway/probe.py": {"ssl.": "what a certificate is judged by"},
}


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that is called or imported; of a method, the name after a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id
            elif isinstance(node.func, ast.Attribute):
                owner = node.func.value
                yield node.lineno, f"{owner.id}.{node.func.attr}" if isinstance(owner, ast.Name) and owner.id in MODULE_NAMES else f".{node.func.attr}"


MODULE_NAMES = {"os", "io", "fcntl", "subprocess", "pty", "http", "urllib", "socket", "ssl", "shutil", "json", "time", "gzip"}


def raw(name: str) -> str | None:
    """Return the rule that a call breaks."""
    return next(
        (
            rule
            for rule in ONE_WAY
            if name == rule or (rule.endswith(".") and name.startswith(rule)) or (rule in ("os.exec", "os.spawn") and name.startswith(rule))
        ),
        None,
    )


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_what_others_can_influence_is_reached_in_one_way(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(PACKAGE)), {})
    found = [(line, name, rule) for line, name in calls(ast.parse(path.read_bytes())) if (rule := raw(name)) and rule not in allowed]
    assert [f"{path.name}:{line}: {name}: use {ONE_WAY[rule]}" for line, name, rule in found] == []


def test_exceptions_are_used() -> None:
    """One that is not needed any more would hide the next mistake."""
    unused = []
    for name, allowed in ALLOWED.items():
        used = {raw(called) for _line, called in calls(ast.parse((PACKAGE / name).read_bytes()))}
        unused += [f"{name}: {rule}" for rule in allowed if rule not in used and name != "boot/first_boot.py"]
    assert unused == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_file_has_no_more_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_class_has_no_more_than_15_public_methods(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ClassDef):
            public = [each.name for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
            assert len(public) <= METHODS, f"{node.name}: {len(public)} public methods"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_are_relative_or_of_the_standard_library(path: Path) -> None:
    """It runs as nous_vm on a host, and as a part of the collection in modules. The key's library is the distribution's."""
    allowed = {"cryptography"} if path.relative_to(PACKAGE).parts[0] == "key" else set()
    roots = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            roots |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots.add((node.module or "").partition(".")[0])
    assert roots - sys.stdlib_module_names - allowed == set()


def test_every_module_has_documentation() -> None:
    assert [name for name, path in zip(NAMES, MODULES, strict=True) if not ast.get_docstring(ast.parse(path.read_bytes()))] == []
