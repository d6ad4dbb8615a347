"""A host of the release before becomes one of this checkout, under load, by a run of the site."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from controller import REPOSITORY, sh
from forms import PLATFORMS

from .conftest import FORM
from .site import Site, applied

pytestmark = FORM.only_full("a host of its own, and two runs of the site")
# Nothing was released yet: until there is a tag, the state of the collection before its last rebuilding stands for the release before.
BEFORE = "964d2bb1738da0bcb5f6a0da21ff77c4119852ba"
SECONDS = 150  # of load: as long as a run of the site takes on a machine that is busy


def before() -> str:
    """Return the release before this checkout: the newest tag that is not its own."""
    tags = sh("git", "tag", "--list", "v*", "--sort=-version:refname", "--no-contains", "HEAD", cwd=REPOSITORY).split()
    return tags[0] if tags else BEFORE


@pytest.fixture(params=PLATFORMS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A host of the release before."""
    archive = subprocess.run(["git", "archive", before()], cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tree:
        tree.extractall(tmp_path / "before", filter="tar")
    with applied(request.param, tmp_path, tmp_path / "before") as made:
        yield made


def test_an_upgrade_of_the_collection_fails_no_request(site: Site) -> None:
    assert site.failed() == []
    records = int(site.sh("wc --lines < /var/log/nous/audit.jsonl"))
    site.tree = REPOSITORY
    with site.clients(SECONDS) as clients:
        upgraded = site.apply()
        assert clients.poll() is None, "the load was over before the run was"
        became = json.loads(clients.communicate(timeout=600)[0])
    print(f"requests while the collection was upgraded: {became}")
    assert "failed=0" in upgraded and "changed=0 " not in upgraded.rpartition(site.container)[2], upgraded[-6000:]
    assert set(became) == {"200"}
    assert site.failed() == []
    assert int(site.sh("wc --lines < /var/log/nous/audit.jsonl")) >= records
    assert "changed=0 " in site.apply().rpartition(site.container)[2]
