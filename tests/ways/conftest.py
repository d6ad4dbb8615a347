"""A host a platform that all tests here share. NOUS_VM_WAYS=full adds what takes minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "gate"))
sys.path.insert(0, str(Path(__file__).parent))

from alone import Host
from container import need_root
from forms import PLATFORMS


@pytest.fixture(scope="session", params=PLATFORMS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    need_root()
    made = Host(request.param, tmp_path_factory.mktemp("ways"))
    try:
        made.start()
        yield made
    finally:
        made.remove()
