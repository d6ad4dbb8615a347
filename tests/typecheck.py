#!/usr/bin/env python3
"""Run mypy --strict over every Python file of this checkout, or over those below the folders that are given: typecheck.py [FOLDER ...]

Suites have modules of the same name (conftest, host, load), which import one another as pytest lets them; so each such suite is a run of its own, with the
folders that pytest would look in. `typecheck.py --list` prints the files instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ["collections", "tests/hosts", "tests/clients"]
# Folders whose files are checked together, and where their imports are looked for besides SHARED. Files of no such folder are one more run.
GROUPS: dict[tuple[str, ...], list[str]] = {
    ("tests/bench", "tests/service"): ["tests/bench", "tests/service", "tests/gate"],
    ("tests/gate",): ["tests/gate"],
    ("tests/rotation",): ["tests/rotation", "tests/standin"],
    ("release", "tests/release", "docs", "tests/docs"): ["release", "docs/site", "tests", "tests/release"],
    ("tests/ways",): ["tests/ways", "tests/service", "tests/gate"],
    ("tests/standin",): ["tests/standin", "tests/standin/src", "tests/standin/tests"],
}
REST = ["tests", "tests/key"]


def files() -> list[str]:
    """Return the files that git has or would take, without links."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted({name for name in listed.stdout.split("\0") if (ROOT / name).is_file() and not (ROOT / name).is_symlink()})


def python_files() -> list[str]:
    """Return those of them that are Python by their ending or their first line."""
    return [name for name in files() if is_python(ROOT / name)]


def is_python(path: Path) -> bool:
    if path.suffix in (".py", ".pyi"):
        return True
    with path.open("rb") as file:
        first = file.readline(100)
    return first.startswith(b"#!") and b"python" in first


def groups() -> list[tuple[list[str], list[str]]]:
    """Return what each run of mypy is given: its files, and where it looks for imports."""
    rest, found = python_files(), []
    for folders, paths in GROUPS.items():
        those = [name for name in rest if name.startswith(tuple(f"{folder}/" for folder in folders))]
        rest = [name for name in rest if name not in those]
        found.append((those, SHARED + paths))
    return [*found, (rest, SHARED + REST)]


def check(folders: list[str]) -> bool:
    """Run mypy over the files below some folders, over all by default; return whether it found nothing."""
    good = True
    for those, paths in groups():
        chosen = [name for name in those if not folders or name.startswith(tuple(f"{folder.rstrip('/')}/" for folder in folders))]
        if chosen:
            environment = os.environ | {"MYPYPATH": ":".join(paths)}
            good &= subprocess.run(["mypy", "--scripts-are-modules", *chosen], cwd=ROOT, env=environment, check=False).returncode == 0
    return good


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(python_files()))
        sys.exit()
    sys.exit(0 if check(sys.argv[1:]) else 1)
