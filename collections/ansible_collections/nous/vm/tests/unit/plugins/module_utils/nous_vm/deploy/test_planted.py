# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands where root looks for a record: a FIFO, a link, a file of 1 GB, or JSON of another kind. No command waits for it, fails of it, or believes it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.release import damage, failure
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import check, deploy, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.service import Service
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host

LIMIT = 20  # seconds, after which what waits for ever is ended


def fifo(path: Path) -> None:
    os.mkfifo(path)


def large(path: Path) -> None:
    """Of 1 GB, which takes no room, and more memory than is there if it is read."""
    with path.open("wb") as file:
        file.truncate(1 << 30)


def link(path: Path) -> None:
    """To what is a record, but not of root's."""
    (path.parents[3] / "elsewhere.json").write_text(json.dumps({"reason": "planted", "settings": None, "release": path.parent.name, "python": "3.13.5"}))
    path.symlink_to(path.parents[3] / "elsewhere.json")


def empty(path: Path) -> None:
    path.write_text("{}")


def of_another_kind(path: Path) -> None:
    path.write_text('[{"reason": 1}]')


PLANTED = [fifo, large, link, empty, of_another_kind]


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Whatever waits for a FIFO is ended."""
    before = signal.signal(signal.SIGALRM, lambda *_arguments: pytest.fail("it waits"))
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replace(host: Host, release: str, name: str, plant: Callable[[Path], None]) -> Service:
    path = host.root / "releases" / release / name
    path.unlink(missing_ok=True)
    plant(path)
    return host.service()


@pytest.mark.parametrize("plant", PLANTED)
def test_in_the_place_of_the_record(host: Host, plant: Callable[[Path], None]) -> None:
    """The release is none, whatever else is; the one that runs goes on."""
    known = replace(host, host.build("other"), "release.json", plant)
    assert "cannot run" in str(known.releases.unable("other"))
    assert damage(host.root / "releases/other") == "other is not built"
    assert deploy(known, "other", again=False)["rollback"] == "the server that runs was not touched"
    assert (host.current(), check(known, "good", again=False)["actions"]) == ("good", [])


@pytest.mark.parametrize("plant", PLANTED)
def test_in_the_place_of_the_mark(host: Host, plant: Callable[[Path], None]) -> None:
    """It marks nothing, and does not keep a release from being built, deployed, rolled back from, and marked."""
    known = replace(host, host.build("other"), "failed.json", plant)
    assert failure(host.root / "releases/other") is None
    assert known.releases.failed() == {}
    assert deploy(known, "other", again=False)["reason"] is None
    assert roll_back(host.service(), None)["release"] == "good"
    assert host.service().releases.failed()["other"]["reason"] == "it was rolled back"
