#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which test shows what the documentation promises: evidence.py [--json FILE]

A promise is a row of a table whose last column is headed "test" or "shown by", in any page of this repository. Exits with 1 and a line for each promise which
names no test, and for each test that is named and gone. FILE gets all of them: promise, page, tests.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HEADS = {"test", "tests", "shown by"}
WITHOUT = ("out of scope",)  # how a row begins that promises nothing, as a threat model has it
BY_INTENT = ("by intent", "not this role's")  # what stands in place of a test where a difference is none that a test could show
SAME = "the same"


class Promise(NamedTuple):
    """One row: its text, on which page and line, and what the row names as shown by."""

    text: str
    page: str
    line: int
    shown: str


def tracked(*patterns: str) -> list[str]:
    """Return the files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink())


@cache
def tests() -> dict[str, set[str]]:
    """Return the names that each test file has, by its path: functions, classes, and methods as Class::test."""
    found: dict[str, set[str]] = {}
    for name in tracked("*.py"):
        if "/test" not in f"/{name}":
            continue
        names = set()
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        found[name] = names
    return found


def cells(line: str) -> list[str]:
    """Return the cells of a row; a bar that is escaped or in code is text."""
    return [each.replace("\0", "|").strip() for each in line.strip().strip("|").replace("\\|", "\0").split("|")]


def promises() -> Iterator[Promise]:
    """Yield the rows of all tables of all pages that say what shows them."""
    for page in tracked("*.md"):
        within, before = False, ""
        for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
            if not line.startswith("|"):
                within = False
                continue
            row = cells(line)
            if not within:
                within = row[-1].lower() in HEADS
                continue
            if within and row[-1].lower() not in HEADS and set(line) - set("|-: "):
                before = before if row[-1].startswith(SAME) else row[-1]
                yield Promise(": ".join(each for each in row[:-1] if each), page, number, before)


def known(name: str) -> bool:
    """Tell whether there is what a row names: a path, a file of tests, a test in one, a function or a class."""
    file, _, test = name.partition("::")
    if "/" in file:
        return (ROOT / file).exists() and (not test or test in tests().get(file, set()))
    if file.endswith(".py"):
        return any(Path(path).name == file and (not test or test in names) for path, names in tests().items())
    return any(name in names for names in tests().values())


def named(shown: str) -> list[str]:
    """Return what a row names: what is in code, and a path without."""
    in_code = re.findall(r"`([^`]+)`", shown)
    bare = re.findall(r"(?<![\w/`])((?:tests|molecule)/[\w./]+)", re.sub(r"`[^`]*`", "", shown))
    return [
        each
        for each in [*in_code, *bare]
        if re.fullmatch(r"[\w./:-]+", each) and ("/" in each or "test" in each.lower() or each.endswith(".py") or "_" in each)
    ]


def faults(found: list[Promise]) -> Iterator[str]:
    """Yield what is wrong with the promises."""
    for promise in found:
        if promise.text.startswith(WITHOUT) or promise.shown.startswith(BY_INTENT):
            continue
        names = named(promise.shown)
        where = f"{promise.page}:{promise.line}: {promise.text[:80]}"
        gone = [name for name in names if not known(name)]
        if gone:
            yield f"{where}: there is no {' and no '.join(gone)}"
        elif not names:
            yield f"{where}: names no test"


def main() -> int:
    parser = argparse.ArgumentParser(prog="evidence.py", description="Which test shows what the documentation promises?")
    parser.add_argument("--json", type=Path, help="file to write the table to")
    given = parser.parse_args()
    found = list(promises())
    wrong = list(faults(found))
    if given.json:
        table = [{"promise": each.text, "page": each.page, "tests": named(each.shown)} for each in found]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join([*wrong, f"{len(found)} promises on {len({each.page for each in found})} pages, {len(wrong)} without a test that is there"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
