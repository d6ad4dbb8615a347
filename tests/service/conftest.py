"""A host a platform with the whole site, the stand-in as its server, which all tests here share.

Requests are sent from here, through sockets that are opened in the host's network namespace; so this runs as root. All of it runs on every
platform in NOUS_VM_TEST_PLATFORMS; NOUS_VM_SERVICE=full adds what takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "gate"))
sys.path.insert(0, str(Path(__file__).parent))

from container import need_root
from forms import PLATFORMS
from host import Host


@pytest.fixture(scope="session", params=PLATFORMS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    need_root()
    made = Host(request.param, tmp_path_factory.mktemp("releases"))
    try:
        made.start()
        made.sign_in()
        yield made
    finally:
        made.remove()
