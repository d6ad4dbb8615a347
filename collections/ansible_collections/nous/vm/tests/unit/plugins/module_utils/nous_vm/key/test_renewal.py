# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a host that is a copy of another one are made anew, and of the private ones from before nothing is left."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils._oauth_key_files import Directories, Permissions
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import checkpoint_rows
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import renewal as of_audit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import LockedError, NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import check, jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import renewal as of_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jws import Signer, payload, public_keys
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import Estate, configuration


class Keys:
    """A key, its set and its successor."""

    def __init__(self, folder: Path, algorithm: str, size: int = 2048) -> None:
        self.path, self.published = folder / "key.pem", folder / "jwks.json"
        self.before = jwk.generate_pem(algorithm, size)
        self.path.write_bytes(self.before)
        self.path.chmod(0o440)
        self.published.write_bytes(jwk.render_jwks([jwk.read_pem(self.before, algorithm).jwk]))
        self.published.chmod(0o644)
        (folder / "key.pem.next").write_bytes(jwk.generate_pem(algorithm, size))
        self.about = check.Configuration(str(self.path), algorithm, str(self.published), 365, {})

    @property
    def known(self) -> jwk.KeyInfo:
        return jwk.read_pem(self.path.read_bytes(), self.about.algorithm)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_the_key_that_signs_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    keys = Keys(tmp_path, algorithm)
    before = keys.known
    monkeypatch.setattr(of_key, "configuration", lambda: keys.about)
    done = list(of_key.renew())
    assert keys.known.kid != before.kid and keys.known.kid in done[0]
    assert jwk.parse_jwks(keys.published.read_bytes()) == [keys.known.jwk], "nothing of the other host's is published"
    assert (keys.path.stat().st_mode & 0o777, keys.published.stat().st_mode & 0o777) == (0o440, 0o644)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jwks.json", "key.pem"]
    assert jwk.bits(keys.known) == jwk.bits(before) == (2048 if algorithm == "RS256" else 0)
    statuses = {row.name: row.status for row in check._published(keys.about, keys.known)}
    assert statuses == {"published keys": "ok", "rotation finished": "ok"}
    spec = KeySpec(str(keys.path), mode=0o440, algorithm=algorithm, size=2048, jwks_path=str(keys.published), jwks_mode=0o644)
    assert ensure_key(spec, check_mode=False).actions == [], "the next run of the role has nothing to do"


def test_a_key_that_is_damaged_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(tmp_path, "RS256")
    keys.path.chmod(0o600)
    keys.path.write_bytes(b"damaged")
    monkeypatch.setattr(of_key, "configuration", lambda: keys.about)
    monkeypatch.setattr(of_key, "BITS", 2048)
    assert list(of_key.renew())
    assert jwk.bits(keys.known) == 2048


@pytest.mark.parametrize("name", ["key.pem", "jwks.json"])
def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    keys = Keys(tmp_path, "EdDSA")
    (tmp_path / name).unlink()
    monkeypatch.setattr(of_key, "configuration", lambda: keys.about)
    monkeypatch.setattr(of_audit, "everything", lambda: [configuration(tmp_path)])
    monkeypatch.setattr(of_audit, "settings", lambda _config: {"key": str(keys.path), "jwks": str(keys.published)})
    for renew in (of_key.renew, of_audit.renew):
        with pytest.raises(NousVmError, match=f"{name} is not there; the playbook site makes it"):
            list(renew())


def test_no_key_is_changed_while_the_module_works_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(tmp_path, "EdDSA")
    monkeypatch.setattr(of_key, "configuration", lambda: keys.about)
    monkeypatch.setattr(of_key, "WAIT", 0.0)
    monkeypatch.setattr(of_audit, "everything", lambda: [configuration(tmp_path)])
    monkeypatch.setattr(of_audit, "settings", lambda _config: {"key": str(keys.path), "jwks": str(keys.published)})
    nobody = Permissions(0, 0, 0o755)
    for look_only in (False, True):  # a run, and one that only looks
        with contextlib.closing(Directories({os.geteuid()}, look_only=look_only)) as module:
            module.enter(str(tmp_path), nobody)
            for renew in (of_key.renew, of_audit.renew):
                with pytest.raises(LockedError, match=f"{tmp_path} is locked by somebody who works on the keys in it"):
                    list(renew())
    assert keys.path.read_bytes() == keys.before
    assert list(of_key.renew())
    with contextlib.closing(Directories({os.geteuid()}, look_only=False)) as module:
        assert module.enter(str(tmp_path), nobody) is not None, "and the lock is free again"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "no module")
    with pytest.raises(NousVmError, match="without python3-cryptography"):
        of_key.new(Path("/nonexistent"), "EdDSA")


def test_checkpoints_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other host signed stays verifiable, what follows is this one's, and each token names its machine."""
    estate = Estate(tmp_path / "host")
    monkeypatch.setattr(estate, "machine", {"id": "a" * 32})
    estate.days(2)
    folder = tmp_path / "keys"
    folder.mkdir()
    path, published = folder / "1.pem", tmp_path / "jwks.json"
    for name in ("1.pem", "0.pem"):
        (folder / name).write_bytes(jwk.generate_pem("EdDSA", 0))
        (folder / name).chmod(0o600)
    published.write_bytes(jwk.render_jwks([estate.keys[0].jwk | {"use": "sig", "alg": "EdDSA"}]))
    monkeypatch.setattr(of_audit, "everything", lambda: [configuration(tmp_path, "one"), configuration(tmp_path, "none")])
    monkeypatch.setattr(of_audit, "settings", lambda config: {"key": str(path), "jwks": str(published)} if config.name == "one" else None)
    done = list(of_audit.renew())
    assert [each.name for each in folder.iterdir()] == ["1.pem"]
    made = Signer(path.read_bytes())
    assert done == [f"the key of the checkpoints of one is new: kid {made.kid}"]
    trusted = public_keys(published.read_bytes())
    assert list(trusted) == [made.kid, estate.keys[0].kid]

    other = Estate.__new__(Estate)
    other.__dict__ |= estate.__dict__
    other.keys, other.trusted, other.machine = [made], trusted, {"id": "b" * 32}
    other.write(3)
    token = other.sign()[-1]
    assert other.faults() == {}
    notes = other.verify()["checkpoints"].notes
    number, time = len(other.lines("checkpoints.jws")), payload(token)["time"]
    assert [note for note in notes if "machine" in note] == [f"from checkpoint {number} of {time} on it is another machine"]
    assert checkpoint_rows._signed(other.checkpoints, trusted)[-1].machine == {"id": "b" * 32}
