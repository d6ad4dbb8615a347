"""Each row of the threat model of the audit log names the test that shows it, and there is such a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COLLECTION = REPOSITORY / "collections/ansible_collections/nous/vm"
PAGE = COLLECTION / "roles/audit_logrotate/evidence.md"
PLACES = (REPOSITORY / "tests/rotation", COLLECTION / "tests/unit/plugins/module_utils/nous_vm/audit")
CHAPTERS = ("## Threat model", "## What remains possible")


def rows() -> list[str]:
    """Return the rows of the tables, each but for what its last cell names as the same as the row before."""
    found: list[str] = []
    for chapter in PAGE.read_text(encoding="utf-8").split("\n## "):
        if f"## {chapter}".startswith(CHAPTERS):
            lines = [line for line in chapter.splitlines() if line.startswith("| ")][1:]
            assert lines
            found += lines
    return found


def known(path: Path) -> set[str]:
    """Return the tests in a file, as pytest calls them."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_whole_page_is_read() -> None:
    assert len(rows()) >= 27


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[2:40])
def test_a_row_names_its_test(row: str) -> None:
    cell = row.strip(" |").rpartition("|")[2].strip()
    named = re.findall(r"`(test_\w+\.py)::([\w:]+)`", cell)
    assert named or cell == "the same"
    for file, test in named:
        paths = [place / file for place in PLACES if (place / file).exists()]
        assert any(test in known(path) for path in paths), f"there is no {file}::{test}"
