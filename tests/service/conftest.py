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

from builds import HEAVY, PROJECT, ROOT, SENT, SOURCE, STORE, Builder
from container import need_root
from forms import PLATFORMS
from host import Host
from releases import ROOT as RELEASES_OF
from releases import Releases, unwatch, watch


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


@pytest.fixture
def releases(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    monkeypatch.setattr("loads.RATE", 50)  # requests are sent to be lost; how many the proxy carries is shown elsewhere
    host.sh("cp -a /etc/nous-vm/deploy.json /root/deploy.json")
    made = Releases(host)
    made.configure(keep=20)
    yield made
    unwatch(host)
    host.sh("cp -a /root/deploy.json /etc/nous-vm/deploy.json")
    made.well("deploy", made.first, "--again")
    host.sh(f"cd {RELEASES_OF}/releases; for each in *; do [ $each = {made.first} ] || rm -rf $each; done; rm -rf {RELEASES_OF}/backups/*")
    # A copy of the next test may have the name of one that answered in this.
    host.sh("cd /etc/nous-vm/generations; for each in *; do [ $each = $(basename $(readlink ../current)) ] || rm -rf $each; done")


@pytest.fixture
def watched(releases: Releases) -> Iterator[Releases]:
    """The same, with acts.py watching the program in its units."""
    watch(releases.host)
    yield releases


@pytest.fixture(scope="module")
def made(host: Host) -> Iterator[Builder]:
    builder = Builder(host)
    yield builder
    builder.sh("systemctl stop index.service")


@pytest.fixture
def builder(made: Builder) -> Builder:
    """Nothing is built yet, and nothing of the index is in uv's cache."""
    made.sh(f"rm -rf {ROOT} {STORE} {Path(SENT).parent}")
    return made


@pytest.fixture(scope="module")
def locked(made: Builder) -> dict[str, bytes]:
    return SOURCE | {"uv.lock": made.lock(PROJECT)}


@pytest.fixture(scope="module")
def heavy(made: Builder) -> dict[str, bytes]:
    return SOURCE | {"pyproject.toml": HEAVY.encode(), "uv.lock": made.lock(HEAVY)}
