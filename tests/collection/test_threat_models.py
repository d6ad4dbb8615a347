"""What a threat model says is tested, is: the tests that its rows name are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "collections/ansible_collections/nous/vm"
PAGES = sorted((COLLECTION / "roles").glob("*/threat-model.md"))
OUT_OF_SCOPE = "out of scope"  # how a row begins that needs no test


@cache
def known() -> set[str]:
    """Return the names of all tests, of functions and of files."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(COLLECTION / "tests").rglob("test_*.py")]
    functions = (re.findall(r"^ *(?:async )?def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files)
    return {path.name for path in files} | {name for found in functions for name in found}


def rows(page: Path) -> list[list[str]]:
    """Return the rows of the tables whose last column is named test, cell by cell."""
    found, within = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        within = bool(cells) and (within or cells[-1] == "test")
        if within and cells[-1] != "test" and set(line) - set("|- "):
            found.append(cells)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_tests_of_a_threat_model_are_there(page: Path) -> None:
    """In the last column of its tables, and anywhere in its text."""
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", page.read_text(encoding="utf-8")))
    assert named - known() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_each_row_of_a_threat_model_names_its_test(page: Path) -> None:
    for cells in rows(page):
        names = set(re.findall(r"`(\w+(?:\.py)?)`", cells[-1]))
        assert cells[0].startswith(OUT_OF_SCOPE) or names & known(), cells[0]
