"""Each defence of the way out is taken out, one at a time, and the unit tests of what it denies have to fail: none of them passes for another reason."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from alone import only_full
from controller import REPOSITORY

pytestmark = only_full("each defence is taken out")
NAMESPACE = "ansible_collections/nous/vm"
EGRESS = "plugins/module_utils/nous_vm/egress"
PACKAGE = REPOSITORY / "collections" / NAMESPACE / EGRESS
# Longer than the tests take, and shorter than for ever: a reader without its defence may read on.
PATIENCE = 90
FAILED = 1  # pytest's exit code: some did


class Defence(NamedTuple):
    """A part of a module that denies something; line: its first, end: its last, instead: what stands there when it is taken out."""

    module: str
    line: int
    end: int
    instead: str


def kinds(raised: ast.Raise) -> Iterator[str]:
    """Yield the kinds that a statement denies with."""
    for each in ast.walk(raised):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "Denied":
            yield from (part.value for part in ast.walk(each.args[0]) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def statements() -> Iterator[tuple[str, Defence]]:
    """Yield every statement that denies, by a name that has its kinds."""
    for path in sorted(PACKAGE.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Raise) and (found := list(kinds(node))):
                end = node.end_lineno or node.lineno
                yield f"{path.stem}-{node.lineno}-{'-'.join(found)}", Defence(path.name, node.lineno, end, " " * node.col_offset + "pass")


def judged() -> Iterator[tuple[str, Defence]]:
    """Yield what judges addresses: each part of is_permitted."""
    lines = (PACKAGE / "policy.py").read_text(encoding="utf-8").splitlines()
    parts = {
        "never": ("within(address, NO_NETWORKS) or ", ""),
        "own": (" or own(address)", ""),
        "network": ("return within(address, [about.network])", "return True"),
        "special": ("address.is_global and ", ""),
        "public": (" and not within(address, NETWORKS)", ""),
    }
    for name, (part, instead) in parts.items():
        (number,) = (number for number, line in enumerate(lines, 1) if part in line)
        yield f"policy-{number}-{name}", Defence("policy.py", number, number, lines[number - 1].replace(part, instead))


DEFENCES = dict([*statements(), *judged()])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the unit tests need, in which they pass."""
    folder = tmp_path_factory.mktemp("defences")
    for each in ("plugins", "tests/unit"):
        shutil.copytree(REPOSITORY / "collections" / NAMESPACE / each, folder / NAMESPACE / each, ignore=shutil.ignore_patterns("__pycache__"))
    assert units(folder) == 0
    return folder


def units(folder: Path) -> int:
    """Run the unit tests of the way out; return pytest's exit code, that of failed tests if they go on and on."""
    tests = folder / NAMESPACE / "tests/unit" / EGRESS
    options = ["-q", "-x", "-p", "no:cacheprovider", "--import-mode=importlib", f"--rootdir={folder}", f"--override-ini=pythonpath={folder}"]
    try:
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, tests], cwd=folder, capture_output=True, timeout=PATIENCE, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


@pytest.mark.parametrize("name", DEFENCES)
def test_without_it(copy: Path, name: str) -> None:
    defence = DEFENCES[name]
    path = copy / NAMESPACE / EGRESS / defence.module
    whole = path.read_text(encoding="utf-8")
    lines = whole.splitlines()
    lines[defence.line - 1 : defence.end] = [defence.instead]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        assert units(copy) == FAILED, f"nothing fails without {name}"
    finally:
        path.write_text(whole, encoding="utf-8")


def test_how_many_ways_there_are() -> None:
    """At least thirty, of which each has its kind."""
    sys.path.insert(0, str(REPOSITORY / "collections"))
    from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.egress import test_policy, test_request, test_tunnel

    found = Counter(kind for kind, _given in test_request.DENIED.values()) + Counter(address=len(test_policy.FORBIDDEN))
    found += Counter(kind for *_given, kind in test_tunnel.ANSWERED.values()) + Counter(kind for _first, kind in test_tunnel.FIRST.values())
    print(f"{found.total()} rejected ways of {len(found)} kinds: {dict(found)}")
    assert found.total() >= 30
