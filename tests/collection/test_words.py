# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No name that is gone comes back, and no phrase that nobody would look for: tests/words.txt has them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WORDS = REPOSITORY / "tests/words.txt"
PATTERNS = [line for line in WORDS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
# words.txt itself, what is other people's text, and what was true when it was written.
ELSEWHERE = re.compile(
    r"tests/words\.txt|tests/collection/test_words\.py|(.*/)?LICENSE|(.*/)?CHANGELOG\.rst|.*/changelogs/changelog\.yaml|uv\.lock|.*/uv\.lock|.*\.svg"
)


def files() -> list[Path]:
    """Return the text files that git has or would take."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in sorted(filter(None, listed.stdout.split("\0"))) if not ELSEWHERE.fullmatch(name)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """Every line with where it is."""
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # no text
            continue
        found += [(f"{path.relative_to(REPOSITORY)}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_is_gone(lines: list[tuple[str, str]], pattern: str) -> None:
    expression = re.compile(pattern, re.IGNORECASE)
    assert [f"{place}: {line.strip()[:160]}" for place, line in lines if expression.search(line)] == []


def test_names_of_files_are_of_the_words_too() -> None:
    names = "\n".join(str(path.relative_to(REPOSITORY)) for path in files())
    assert [pattern for pattern in PATTERNS if re.search(pattern, names, re.IGNORECASE)] == []


@pytest.mark.parametrize(
    "word",
    ["hardened", "health check", "uninstall", "allow list", "rollback", "retention", "readiness", "deploy", "sandbox", "test-one"],
)
def test_what_an_engineer_would_look_for_is_found(lines: list[tuple[str, str]], word: str) -> None:
    """In the READMEs at the root and of the collection, and in what they are about."""
    expression = re.compile(re.escape(word), re.IGNORECASE)
    places = {place.split(":")[0] for place, line in lines if expression.search(line)}
    assert {"README.md", "CONTRIBUTING.md"} & places
    assert [place for place in places if place.endswith((".yml", ".py", "Makefile"))]
