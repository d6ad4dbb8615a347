# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose Caddyfile is it, and what was verified last?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

PARAMETERS = {
    "config": "/etc/caddy/Caddyfile",
    "hostname": "nous.example.org",
    "cidrs": ["203.0.113.7/32"],
    "public_paths": ["/authorize"],
    "limits": True,
    "score": 1.4,
    "list_url": "",
}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put all files of the gateway below a folder of this test's own, on a host whose package brought the content b"package"."""
    for name in ("CADDYFILE", "DROP_IN", "PARAMETERS", "KNOWN_GOOD", "CADDY"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    digest = hashlib.md5(b"package", usedforsecurity=False).hexdigest()
    conffiles = f"\n {configuration.CADDYFILE} {digest}\n".encode()
    monkeypatch.setattr(configuration, "run", lambda *_arguments, **_options: Completed(0, conffiles, b""))
    return tmp_path


def ours(body: str) -> str:
    return f"{configuration.HEAD}{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def test_owner() -> None:
    path = configuration.CADDYFILE
    assert configuration.owner(path) == "absent"
    for content, whose in ((ours("a\n"), "ours"), (ours("a\n") + "b\n", "foreign"), ("package", "package"), ("package\n", "foreign"), ("", "foreign")):
        path.write_text(content, encoding="utf-8")
        assert configuration.owner(path) == whose, content


def test_a_link_a_folder_and_something_large_are_foreign(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(ours("a\n"), encoding="utf-8")
    configuration.CADDYFILE.symlink_to(target)
    assert configuration.owner(configuration.CADDYFILE) == "foreign"
    assert configuration.owner(tmp_path) == "foreign"
    target.write_bytes(bytes((1 << 20) + 1))
    assert configuration.owner(target) == "foreign"


def test_parameters() -> None:
    with pytest.raises(UsageError, match="apply the role caddy_gateway"):
        configuration.parameters()
    assert configuration.config() == configuration.CADDYFILE
    configuration.PARAMETERS.write_text(json.dumps(PARAMETERS | {"config": "/etc/caddy/conf.d/nous.caddy"}), encoding="utf-8")
    parameters = configuration.parameters()
    assert configuration.config() == parameters.config == Path("/etc/caddy/conf.d/nous.caddy")
    assert parameters[1:] == ("nous.example.org", ["203.0.113.7/32"], ["/authorize"], True, 1.4, "", 30)


def test_known_good() -> None:
    assert configuration.known_good() == configuration.on_disk() == {}
    configuration.CADDYFILE.write_text(ours("a\n"), encoding="utf-8")
    configuration.DROP_IN.write_text("[Service]\n", encoding="utf-8")
    configuration.PARAMETERS.write_text(json.dumps({"config": str(configuration.CADDYFILE)}), encoding="utf-8")
    configuration.keep_known_good(configuration.on_disk())
    assert configuration.known_good() == configuration.on_disk()
    assert set(configuration.known_good()) == {str(configuration.CADDYFILE), str(configuration.DROP_IN), str(configuration.PARAMETERS)}
    configuration.DROP_IN.unlink()
    assert configuration.known_good() != configuration.on_disk()
