"""What the key tests share: cases, and key sets below directories of their own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keysets import CASES, Case, KeySet


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    """Modes have to be right by themselves."""
    previous = os.umask(0)
    yield
    os.umask(previous)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def fresh() -> Iterator[Callable[[], KeySet]]:
    """Make key sets, each below a directory of its own."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        count = 0

        def make() -> KeySet:
            nonlocal count
            count += 1
            root = Path(top, str(count))
            root.mkdir(mode=0o755)
            return KeySet(root)

        yield make
