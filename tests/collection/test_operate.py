# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/operate.md speaks of every row of the health check, by the name that it has there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from controller import REPOSITORY

PACKAGE = REPOSITORY / "collections/ansible_collections/nous/vm/plugins/module_utils/nous_vm"
PAGE = REPOSITORY / "docs/operate.md"
# Rows whose name is a variable that is not of the function that makes them: a unit's name, what a part hands on, the lines of nous-vm status.
ELSEWHERE = {"label", "unit", "part"}


def assigned(tree: ast.AST) -> dict[str, str]:
    """Return the texts that are given to names, alone or several at once."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(target.elts, value.elts, strict=True) if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [(target, value)]
            for name, text in pairs:
                if isinstance(name, ast.Name) and (words := written(text)):
                    found[name.id] = words
    return found


def written(node: ast.AST) -> str:
    """Return a text as far as it is constant; what is filled in is an asterisk."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "*" for part in node.values)
    return ""


def rows(path: Path) -> Iterator[str]:
    """Yield the names of the rows that a module makes."""
    tree = ast.parse(path.read_bytes())
    outside = assigned(ast.Module([each for each in tree.body if isinstance(each, ast.Assign)], []))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        known = outside | assigned(function)
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Row"
                and node.args
                and not isinstance(node.args[0], ast.Starred)
            ):
                first = node.args[0]
                name = known.get(first.id, "") if isinstance(first, ast.Name) else written(first)
                if not name and isinstance(first, ast.Name) and first.id in ELSEWHERE:
                    continue
                if name or not isinstance(first, ast.Call | ast.Attribute):  # printable(row.name) hands a row on, log.name is a file
                    yield name


NAMES = sorted({name for path in PACKAGE.rglob("*.py") for name in rows(path)})


def test_the_names_are_found() -> None:
    assert {"service", "space of *", "clock", "sandbox of *", "certificate", "firewall", "signing key"} <= set(NAMES)
    assert "" not in NAMES, "a row's name is made in a way that this test does not read"
    assert len(NAMES) > 50


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_in_the_page(name: str) -> None:
    pattern = "`" + ".+".join(map(re.escape, name.split("*"))) + "`"
    assert re.search(pattern, PAGE.read_text(encoding="utf-8")), f"docs/operate.md has nothing of the row {name}"
