# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files is on a host only if every entry is, exactly; what cannot be told is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils._probe import answers
from ansible_collections.nous.vm.plugins.plugin_utils import run
from ansible_collections.nous.vm.plugins.plugin_utils.installed import is_installed

KEY = "ab" * 32


def digest(content: bytes) -> str:
    return run.digest(content, KEY)


class Host:
    """A directory that stands for a host, with a set of files on it, and the set that is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "d").mkdir(mode=0o755)
        (root / "d").chmod(0o755)
        self.entries: list[dict[str, Any]] = [self.entry("d", state="directory")]
        self.put("d/a", "text\n", "content")
        self.put("d/b.py", "", "content", mode="0600")
        self.put("d/s", "canary", "secret_content", mode="0640")
        self.more: dict[str, Any] = {}

    def entry(self, name: str, **about: Any) -> dict[str, Any]:
        return {"path": f"{self.root}/{name}", "owner": str(os.geteuid()), "group": str(os.getegid()), **about}

    def put(self, name: str, text: str, option: str, mode: str | None = None) -> None:
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        path.chmod(int(mode or "0644", 8))
        self.entries.append(self.entry(name, **{option: text}, **({"mode": mode} if mode else {})))

    @property
    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = answers({"paths": [f"{self.root}/**"]}, bytes.fromhex(KEY))["paths"]
        return found

    def is_installed(self, seen: dict[str, Any] | None = None) -> bool:
        return is_installed({"files": self.entries, **self.more}, self.seen if seen is None else seen, digest)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_all_is_there(host: Host) -> None:
    assert host.is_installed()
    host.entries[0]["owner"] = host.seen[f"{host.root}/d"]["owner"]
    host.more["validate"] = [{"argv": ["false", f"{{{host.root}/d/a}}"]}]
    assert host.is_installed()


def test_no_secret_is_among_what_was_seen(host: Host) -> None:
    assert "canary" not in str(host.seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda host: (host.root / "d/a").write_text("other", encoding="utf-8"),
        lambda host: (host.root / "d/s").write_text("canarY", encoding="utf-8"),
        lambda host: (host.root / "d/a").chmod(0o600),
        lambda host: (host.root / "d").chmod(0o700),
        lambda host: (host.root / "d/a").unlink(),
        lambda host: (host.root / "d/a").rename(host.root / "d/c").with_name("a").symlink_to("c"),
        lambda host: (host.root / "d/a").unlink() or (host.root / "d/a").mkdir(),
        lambda host: (host.root / "d/.a.0123456789abcdef.nous-vm").touch(),
        lambda host: (host.root / "d/.gone.0123456789abcdef.nous-vm").touch(),
        lambda host: host.entries.append(host.entry("d/new", content="")),
        lambda host: host.entries.append(host.entries[1]),
        lambda host: host.entries[1].update(owner="nonesuch"),
        lambda host: host.entries[1].update(group="12345"),
        lambda host: host.entries[1].update(mode="644"),
        lambda host: host.entries[1].update(mode=420),
        lambda host: host.entries[1].update(secret_content="text\n"),
        lambda host: host.entries[1].pop("content"),
        lambda host: host.entries[1].update(content="\ud800"),
        lambda host: host.entries[1].update(colour="red"),
        lambda host: host.entries[1].pop("path"),
        lambda host: host.entries.append("x"),
        lambda host: host.more.update(colour="red"),
        lambda host: host.more.update(files="x"),
        lambda host: host.more.update(byte_compile=f"{host.root}/d"),
    ],
)
def test_something_is_not(host: Host, change: Any) -> None:
    change(host)
    assert not host.is_installed()


def test_a_host_of_which_nothing_was_seen(host: Host) -> None:
    assert not host.is_installed({})


def test_byte_code_is_there(host: Host) -> None:
    seen = host.seen
    host.more["byte_compile"] = f"{host.root}/d"
    for path, about in seen.items():
        assert ("compiled" in about) == path.endswith(".py")
    seen[f"{host.root}/d/b.py"]["compiled"] = True
    assert host.is_installed(seen)
    host.more["byte_compile"] = f"{host.root}/other"
    assert host.is_installed()
