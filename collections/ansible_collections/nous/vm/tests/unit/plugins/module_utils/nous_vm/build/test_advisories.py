# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Advisories: which versions they are of, and dumps that are none."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.advisories import advisories, affected
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError


def advisory(**about: Any) -> dict[str, Any]:
    return {"id": "PYSEC-1", "summary": "bad\x1b", "affected": [{"package": {"ecosystem": "PyPI", "name": "Some_Package"}} | about]}


def within(*events: dict[str, str]) -> dict[str, Any]:
    return advisory(ranges=[{"type": "ECOSYSTEM", "events": list(events)}])


@pytest.mark.parametrize(
    ("known", "version", "hit"),
    [
        (advisory(versions=["1.0", "1.1"]), "1.1", True),
        (advisory(versions=["1.0"]), "1.1", False),
        (within({"introduced": "0"}), "9", True),
        (within({"introduced": "0"}, {"fixed": "1.10"}), "1.9.3", True),
        (within({"introduced": "0"}, {"fixed": "1.10"}), "1.10.0", False),
        (within({"introduced": "0"}, {"fixed": "1.10"}), "1.10rc1", True),
        (within({"introduced": "2"}, {"last_affected": "2.1"}), "2.1", True),
        (within({"introduced": "2"}, {"last_affected": "2.1"}), "2.1.1", False),
        (within({"introduced": "2"}), "1.9", False),
        (within({"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}, {"fixed": "3"}), "2.5", True),
        (advisory(ranges=[{"type": "GIT", "events": [{"introduced": "0"}]}]), "1", False),
        (advisory(package={"ecosystem": "npm", "name": "some-package"}, versions=["1"]), "1", False),
        (advisory(versions=["1"]) | {"withdrawn": "2026-01-01"}, "1", False),
    ],
)
def test_versions(known: dict[str, Any], version: str, hit: bool) -> None:
    found = affected([known], {"some-package": version, "other": "1"})
    assert [(each["package"], each["version"], each["summary"]) for each in found] == ([("some-package", version, "bad\\x1b")] if hit else [])


def test_dumps(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.writestr("PYSEC-1.json", json.dumps(advisory(versions=["1"])))
    (tmp_path / "one.json").write_text(json.dumps(advisory(versions=["1"])))
    (tmp_path / "list.json").write_text(json.dumps([advisory(versions=["1"])]))
    for path in tmp_path.iterdir():
        assert [each["id"] for each in advisories(path)] == ["PYSEC-1"]
    for content in ("garbage", "3", "[3]"):
        (tmp_path / "none").write_text(content)
        with pytest.raises(UsageError, match="is no dump of OSV"):
            list(advisories(tmp_path / "none"))
