# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the health check on the signing key."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import check, jwk, summary

AGE = 10


class Key:
    """A key that is published, and its configuration."""

    def __init__(self, folder: Path) -> None:
        self.path, self.jwks, self.config = folder / "signing.pem", folder / "jwks.json", folder / "key.json"
        self.path.write_bytes(jwk.generate_pem("EdDSA", 0))
        self.path.chmod(0o600)
        then = self.path.stat().st_mtime - AGE * check.DAY - 60
        os.utime(self.path, (then, then))
        self.info = jwk.read_pem(self.path.read_bytes(), "EdDSA")
        self.publish(self.info.jwk)
        self.configure()

    def publish(self, *keys: dict[str, Any]) -> None:
        self.jwks.write_bytes(jwk.render_jwks(list(keys)))

    def configure(self, rotate_after_days: int = 365, mode: str = "0600") -> None:
        me = f"{os.geteuid()}:{os.getegid()}"
        about = {"path": str(self.path), "algorithm": "EdDSA", "jwks_path": str(self.jwks), "rotate_after_days": rotate_after_days}
        self.config.write_text(json.dumps(about | {"permissions": {str(self.path): f"{mode} {me}"}}), encoding="utf-8")


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Key:
    monkeypatch.setattr(check, "CONFIGURATION", tmp_path)
    return Key(tmp_path)


def found() -> dict[str, tuple[str, str]]:
    return {row.name: (row.status, row.detail) for row in check.check()}


def statuses() -> dict[str, str]:
    return {name: status for name, (status, _detail) in found().items()}


def test_a_key_as_expected(key: Key) -> None:
    assert found() == {
        "mode of signing.pem": ("ok", f"0600 {os.geteuid()}:{os.getegid()}"),
        "signing key": ("ok", f"EdDSA, kid {key.info.kid}, 10 days old"),
        "rotation": ("ok", "due at 365 days"),
        "published keys": ("ok", "the one that signs and 0 others"),
        "rotation finished": ("ok", "yes"),
    }
    made = time.strftime("%Y-%m-%d", time.gmtime(key.path.stat().st_mtime))
    assert list(summary.summary()) == [("key", f"EdDSA, kid {key.info.kid}, made {made}")]


def test_a_key_that_others_can_read(key: Key) -> None:
    key.configure(mode="0400")
    assert statuses()["mode of signing.pem"] == "fail"


@pytest.mark.parametrize(("days", "status"), [(11, "ok"), (10, "warn")])
def test_a_key_that_is_due(key: Key, days: int, status: str) -> None:
    key.configure(rotate_after_days=days)
    assert statuses()["rotation"] == status


def test_no_key(key: Key) -> None:
    key.path.unlink()
    assert found()["signing key"] == ("fail", f"{key.path} No such file or directory")
    with pytest.raises(FileNotFoundError):
        list(summary.summary())


def test_a_key_that_is_none(key: Key) -> None:
    key.path.write_text("no key", encoding="utf-8")
    assert found()["signing key"][1].startswith(f"{key.path} holds no key in PEM; ")


def test_a_key_that_would_hang_who_reads_it(key: Key) -> None:
    key.path.unlink()
    os.mkfifo(key.path)
    assert found()["signing key"] == ("fail", f"{key.path} is not a regular file")


def test_without_the_library(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "Traceback")
    assert found()["signing key"] == ("fail", f"{key.path} cannot be read without python3-cryptography; run the playbook site to install it")


def test_published_keys_that_are_none(key: Key) -> None:
    key.jwks.write_text("[]", encoding="utf-8")
    assert found()["published keys"][0] == "fail"
    key.jwks.unlink()
    assert found()["published keys"] == ("fail", f"{key.jwks} No such file or directory")


def test_a_key_that_is_not_published(key: Key) -> None:
    key.publish({**key.info.jwk, "kid": "another", "exp": 1})
    assert found()["published keys"] == ("fail", "the one that signs is not among the 1")


def test_a_rotation_that_is_not_finished(key: Key) -> None:
    key.publish(key.info.jwk, {**key.info.jwk, "kid": "another"})
    assert statuses()["rotation finished"] == "warn"
    key.publish(key.info.jwk, {**key.info.jwk, "kid": "another", "exp": 1})
    assert found()["published keys"] == ("ok", "the one that signs and 1 others")
    assert statuses()["rotation finished"] == "ok"
    Path(f"{key.path}.next").touch()
    assert statuses()["rotation finished"] == "warn"


def test_rows_that_have_a_next_step(key: Key) -> None:
    assert all(any(row.name.startswith(name) for row in check.check()) for name in summary.NEXT_STEPS)


def test_failures_name_the_file(key: Key) -> None:
    assert check._failure("/x", ForeignError("/x is not a regular file")) == "/x is not a regular file"
