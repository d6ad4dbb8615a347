# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What _oauth_key makes, what it accepts and what it rejects."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import os
import socket
import stat
import time
from abc import ABCMeta
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _oauth_key_files
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem, read_pem
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
OPENSSL = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def narrow_umask() -> Iterator[None]:
    previous = os.umask(0o027)
    yield
    os.umask(previous)


@pytest.fixture
def spec(tmp_path: Path) -> KeySpec:
    return KeySpec(
        path=str(tmp_path / "etc/keys/signing.pem"),
        owner=str(os.geteuid()),
        group=str(os.getegid()),
        mode=0o600,
        algorithm="EdDSA",
        size=2048,
    )


@pytest.fixture
def key(spec: KeySpec) -> Path:
    """A key that the module made."""
    ensure_key(spec, False)
    return Path(spec.path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def tree(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that could be touched below a directory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return found


class TestThumbprint:
    """The RFCs' own examples."""

    def test_rfc_7638(self) -> None:
        n = (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
            "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZH"
            "zu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg"
            "U8awapJzKnqDKgw"
        )
        key = rsa.RSAPublicNumbers(65537, int.from_bytes(base64.urlsafe_b64decode(n + "=="), "big")).public_key()
        assert jwk.public_jwk(key) == {"e": "AQAB", "kty": "RSA", "n": n}
        assert jwk.thumbprint(jwk.public_jwk(key)) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

    def test_rfc_8037(self) -> None:
        raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        public = jwk.public_jwk(ed25519.Ed25519PublicKey.from_public_bytes(raw))
        assert public == {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        assert jwk.thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

    def test_a_coordinate_keeps_its_leading_zero(self) -> None:
        """RFC 7518, section 6.2.1.2: a coordinate has the length of the curve, whatever its value."""
        scalar = next(n for n in range(1, 2000) if point(n).x >> 248 == 0)
        x = jwk.public_jwk(point(scalar).public_key())["x"]
        assert len(base64.urlsafe_b64decode(x + "=")) == 32


def point(scalar: int) -> ec.EllipticCurvePublicNumbers:
    return ec.derive_private_key(scalar, ec.SECP256R1()).public_key().public_numbers()


class TestCreate:
    @pytest.mark.parametrize(
        ("algorithm", "kind"),
        [
            ("EdDSA", ed25519.Ed25519PrivateKey),
            ("ES256", ec.EllipticCurvePrivateKey),
            ("RS256", rsa.RSAPrivateKey),
        ],
    )
    def test_a_key_of_every_algorithm(self, spec: KeySpec, algorithm: str, kind: type[Any]) -> None:
        outcome = ensure_key(dataclasses.replace(spec, algorithm=algorithm), False)
        pem = Path(spec.path).read_bytes()
        made: Any = serialization.load_pem_private_key(pem, None)
        assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
        assert isinstance(made, kind)
        assert outcome.key is not None
        assert outcome.key.alg == algorithm
        assert outcome.key.kid == jwk.thumbprint(jwk.public_jwk(made.public_key()))
        assert outcome.actions == ["create_directory", "create_key"]
        assert outcome.before == {"directory": "absent", "key": "absent"}
        assert outcome.after["key"]["kid"] == outcome.key.kid
        assert ensure_key(dataclasses.replace(spec, algorithm=algorithm), False).actions == []

    @pytest.mark.parametrize("size", [2048, 3072])
    def test_an_rsa_key_has_the_size_asked_for(self, spec: KeySpec, size: int) -> None:
        ensure_key(dataclasses.replace(spec, algorithm="RS256", size=size), False)
        made: Any = serialization.load_pem_private_key(Path(spec.path).read_bytes(), None)
        assert made.key_size == size

    @pytest.mark.parametrize("umask", [0o000, 0o027, 0o077, 0o777])
    @pytest.mark.parametrize(("wanted", "directory"), [(0o600, 0o700), (0o400, 0o700), (0o640, 0o750), (0o440, 0o750)])
    def test_modes_do_not_depend_on_the_umask(self, spec: KeySpec, umask: int, wanted: int, directory: int) -> None:
        os.umask(umask)
        ensure_key(dataclasses.replace(spec, mode=wanted), False)
        path = Path(spec.path)
        assert [mode(path), mode(path.parent), mode(path.parent.parent)] == [wanted, directory, 0o755]

    @as_root
    def test_owner_and_group(self, spec: KeySpec) -> None:
        ensure_key(dataclasses.replace(spec, owner="4242", group="4343"), False)
        path = Path(spec.path)
        owners = [(each.stat().st_uid, each.stat().st_gid) for each in (path, path.parent, path.parent.parent)]
        assert owners == [(4242, 4343), (4242, 4343), (os.geteuid(), os.getegid())]

    def test_a_directory_that_is_there_is_left_as_it_is(self, spec: KeySpec) -> None:
        directory = Path(spec.path).parent
        directory.mkdir(parents=True)
        directory.chmod(0o711)
        assert ensure_key(spec, False).actions == ["create_key"]
        assert mode(directory) == 0o711

    def test_a_key_that_appears_meanwhile_is_not_replaced(self, spec: KeySpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Somebody who knows nothing of the lock lays a key there between our look and our link."""
        theirs = jwk.generate_pem("EdDSA", 0)
        generate = jwk.generate_pem

        def late(algorithm: str, size: int) -> bytes:
            Path(spec.path).touch(mode=0o600)
            Path(spec.path).write_bytes(theirs)
            return generate(algorithm, size)

        monkeypatch.setattr(jwk, "generate_pem", late)
        outcome = ensure_key(spec, False)
        assert Path(spec.path).read_bytes() == theirs
        assert outcome.key == read_pem(theirs, "EdDSA")
        assert outcome.actions == ["create_directory"]
        assert [each.name for each in Path(spec.path).parent.iterdir()] == ["signing.pem"]

    def test_the_time_is_that_of_the_key(self, spec: KeySpec, key: Path) -> None:
        assert ensure_key(spec, False).facts()["age_days"] == 0
        then = time.time() - 86400 * 3 - 60
        os.utime(key, (then, then))
        outcome = ensure_key(spec, False)
        assert outcome.facts()["age_days"] == 3
        os.utime(key, (0, 0))
        assert ensure_key(spec, False).facts()["created"] == "1970-01-01T00:00:00Z"
        future = time.time() + 86400 * 3
        os.utime(key, (future, future))
        assert ensure_key(spec, False).facts()["age_days"] == 0


class TestCheckMode:
    def test_nothing_is_there(self, spec: KeySpec, tmp_path: Path) -> None:
        outcome = ensure_key(dataclasses.replace(spec, owner="nobody-yet", group="nobody-yet"), True)
        assert outcome.actions == ["create_directory", "create_key"]
        assert outcome.after == {
            "directory": "present",
            "key": {"alg": "EdDSA", "owner": "nobody-yet", "group": "nobody-yet", "mode": "0600"},
        }
        facts = outcome.facts()
        assert [facts[name] for name in ("kid", "fingerprint", "created", "age_days")] == [None] * 4
        assert list(tmp_path.iterdir()) == []

    def test_only_the_key_is_missing(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        before = tree(key.parent)
        assert ensure_key(spec, True).actions == ["create_key"]
        assert tree(key.parent) == before

    def test_all_is_there(self, spec: KeySpec, key: Path) -> None:
        before = tree(key.parent)
        outcome = ensure_key(spec, True)
        assert outcome.actions == []
        assert outcome.before == outcome.after
        assert outcome.key == read_pem(key.read_bytes(), "EdDSA")
        assert tree(key.parent) == before

    def test_wrong_mode(self, spec: KeySpec, key: Path) -> None:
        key.chmod(0o644)
        before = tree(key.parent)
        outcome = ensure_key(spec, True)
        assert outcome.actions == ["set_permissions"]
        assert (outcome.before["key"]["mode"], outcome.after["key"]["mode"]) == ("0644", "0600")
        assert tree(key.parent) == before

    def test_owner_does_not_exist_yet(self, spec: KeySpec, key: Path) -> None:
        outcome = ensure_key(dataclasses.replace(spec, owner="nobody-yet"), True)
        assert outcome.actions == ["set_permissions"]
        assert outcome.after["key"]["owner"] == "nobody-yet"

    def test_without_the_library(self, spec: KeySpec, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "ImportError")
        outcome = ensure_key(spec, True)
        assert (outcome.actions, outcome.key) == ([], None)
        assert outcome.before == outcome.after
        assert "cannot be proven before python3-cryptography is installed" in outcome.warnings[0]

    def test_a_key_is_rejected_here_too(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(b"")
        with pytest.raises(KeyProblem, match="holds no key in PEM"):
            ensure_key(spec, True)

    @pytest.mark.parametrize("linked", [False, True])
    def test_leftovers(self, spec: KeySpec, key: Path, linked: bool) -> None:
        leftover = key.with_name(".signing.pem.0123456789abcdef.tmp")
        leftover.hardlink_to(key) if linked else leftover.write_bytes(b"half")
        before = tree(key.parent)
        outcome = ensure_key(spec, True)
        assert outcome.actions == ["remove_leftovers"]
        assert outcome.before["leftovers"] == [leftover.name]
        assert tree(key.parent) == before


class TestExistingKey:
    """What is not to be trusted is rejected in one sentence, and stays as it is."""

    def rejected(self, spec: KeySpec, sentence: str) -> None:
        top = Path(spec.path).parents[2]
        before = tree(top)
        for check_mode in (True, False):
            with pytest.raises(KeyProblem) as problem:
                ensure_key(spec, check_mode)
            assert sentence in str(problem.value)
            assert str(problem.value).endswith(".")
            assert "\n" not in str(problem.value)
            assert tree(top) == before

    def test_no_pem(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(b"\x00\xff" * 100)
        self.rejected(spec, "signing.pem holds no key in PEM; restore it from a backup, or move it away")

    def test_cut_short(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(key.read_bytes()[:60])
        self.rejected(spec, "signing.pem holds a key that is corrupt")

    def test_one_bit_flipped(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(key.read_bytes().replace(b"K2Vw", b"K2V4"))
        self.rejected(spec, "signing.pem holds a key that is corrupt")

    def test_encrypted(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x" * 8)))
        self.rejected(spec, "signing.pem is encrypted")

    def test_not_pkcs8(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, OPENSSL, PLAIN))
        self.rejected(dataclasses.replace(spec, algorithm="ES256"), 'signing.pem holds a "EC PRIVATE KEY", not PKCS#8')

    def test_encrypted_and_not_pkcs8(self, spec: KeySpec, key: Path) -> None:
        """OpenSSL's older format says in a header that it is encrypted."""
        secret = serialization.BestAvailableEncryption(b"x" * 8)
        key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, OPENSSL, secret))
        self.rejected(spec, 'signing.pem holds a "EC PRIVATE KEY", not PKCS#8')

    @pytest.mark.parametrize(
        ("make", "found"),
        [
            (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
            (lambda: ec.generate_private_key(ec.SECP384R1()), "the curve secp384r1"),
            (lambda: rsa.generate_private_key(65537, 2048), "RS256"),
            (lambda: rsa.generate_private_key(65537, 1024), "RSA with 1024 bits, fewer than RS256 needs"),
            (ed448.Ed448PrivateKey.generate, "Ed448"),
        ],
        ids=["ES256", "P-384", "RS256", "RSA-1024", "Ed448"],
    )
    def test_another_algorithm(self, spec: KeySpec, key: Path, make: Callable[[], Any], found: str) -> None:
        key.write_bytes(make().private_bytes(PEM, PKCS8, PLAIN))
        self.rejected(spec, f"signing.pem holds a key for {found}, but EdDSA was requested")

    def test_a_short_rsa_key_is_none_for_rs256(self, spec: KeySpec, key: Path) -> None:
        key.write_bytes(rsa.generate_private_key(65537, 1024).private_bytes(PEM, PKCS8, PLAIN))
        self.rejected(dataclasses.replace(spec, algorithm="RS256"), "holds a key for RSA with 1024 bits")

    def test_a_longer_rsa_key_than_asked_for_is_kept(self, spec: KeySpec, key: Path) -> None:
        pem = rsa.generate_private_key(65537, 3072).private_bytes(PEM, PKCS8, PLAIN)
        key.write_bytes(pem)
        assert ensure_key(dataclasses.replace(spec, algorithm="RS256"), False).actions == []
        assert key.read_bytes() == pem

    @pytest.mark.parametrize(
        ("algorithm", "kind"),
        [
            ("EdDSA", ed25519.Ed25519PrivateKey),
            ("ES256", ec.EllipticCurvePrivateKey),
            ("RS256", rsa.RSAPrivateKey),
        ],
    )
    def test_halves_that_are_no_pair(self, spec: KeySpec, key: Path, algorithm: str, kind: ABCMeta, monkeypatch: pytest.MonkeyPatch) -> None:
        """A parser that lets such a key pass is not enough: it has to sign what its public half verifies."""
        pems = [jwk.generate_pem(algorithm, 2048) for _each in range(2)]
        halves: list[Any] = [serialization.load_pem_private_key(pem, None) for pem in pems]
        one, other = halves

        class Torn:
            curve = getattr(one, "curve", None)
            key_size = getattr(one, "key_size", None)
            sign = staticmethod(one.sign)
            public_key = staticmethod(other.public_key)

        kind.register(Torn)
        monkeypatch.setattr(serialization, "load_pem_private_key", lambda _data, password: Torn())
        self.rejected(dataclasses.replace(spec, algorithm=algorithm), "cannot be parsed, or does not sign")

    def test_symbolic_link(self, spec: KeySpec, key: Path, tmp_path: Path) -> None:
        key.rename(tmp_path / "elsewhere.pem")
        key.symlink_to(tmp_path / "elsewhere.pem")
        self.rejected(spec, "signing.pem is a symbolic link, not a plain file")

    def test_symbolic_link_that_points_nowhere(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        key.symlink_to("nowhere")
        self.rejected(spec, "signing.pem is a symbolic link, not a plain file")

    def test_hard_link(self, spec: KeySpec, key: Path, tmp_path: Path) -> None:
        (tmp_path / "elsewhere.pem").hardlink_to(key)
        self.rejected(spec, "signing.pem has 2 hard links")

    def test_fifo(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        os.mkfifo(key)
        self.rejected(spec, "signing.pem is a FIFO")

    def test_directory(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        key.mkdir()
        self.rejected(spec, "signing.pem is a directory")

    def test_socket(self, spec: KeySpec, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        key.unlink()
        monkeypatch.chdir(key.parent)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(key.name)
        self.rejected(spec, "signing.pem is a socket")


class TestPermissions:
    @pytest.mark.parametrize(("found", "open_"), [(0o644, True), (0o666, True), (0o400, False), (0o700, False)])
    def test_wrong_mode_is_mended(self, spec: KeySpec, key: Path, found: int, open_: bool) -> None:
        key.chmod(found)
        pem, time_made = key.read_bytes(), key.stat().st_mtime_ns
        outcome = ensure_key(spec, False)
        assert outcome.actions == ["set_permissions"]
        assert mode(key) == 0o600
        assert (key.read_bytes(), key.stat().st_mtime_ns) == (pem, time_made)
        assert ["was open to more than was requested" in each for each in outcome.warnings] == [True] * open_
        assert ensure_key(spec, False).actions == []

    def test_what_is_asked_for_is_no_reason_to_warn(self, spec: KeySpec, key: Path) -> None:
        key.chmod(0o440)
        outcome = ensure_key(dataclasses.replace(spec, mode=0o640), False)
        assert (outcome.actions, outcome.warnings) == (["set_permissions"], [])

    @as_root
    def test_wrong_owner_is_mended(self, spec: KeySpec, key: Path) -> None:
        os.chown(key, 4242, 4343)
        outcome = ensure_key(spec, False)
        assert outcome.actions == ["set_permissions"]
        assert (outcome.before["key"]["owner"], outcome.before["key"]["group"]) == ("4242", "4343")
        assert "(4242 4343 0600)" in outcome.warnings[0]
        assert (key.stat().st_uid, key.stat().st_gid) == (os.geteuid(), os.getegid())

    @as_root
    def test_names_are_shown(self, spec: KeySpec) -> None:
        outcome = ensure_key(dataclasses.replace(spec, owner="root", group="0"), False)
        assert (outcome.after["key"]["owner"], outcome.after["key"]["group"]) == ("root", "root")

    @as_root
    def test_nobody_has_more_in_between(self, spec: KeySpec, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """From 0640 for one group to 0440 for another: the new group must not be able to write, nor the old to read."""
        key.chmod(0o640)
        os.chown(key, 0, 4242)
        seen = []

        class Watched:
            def __getattr__(self, name: str) -> Any:
                if name in ("fchown", "fchmod"):
                    seen.append((mode(key), key.stat().st_gid))
                return getattr(os, name)

        monkeypatch.setattr(_oauth_key_files, "os", Watched())
        ensure_key(dataclasses.replace(spec, mode=0o600, group="4343"), False)
        assert seen == [(0o640, 4242), (0o600, 4242), (0o600, 4343)]


class TestDirectories:
    def rejected(self, spec: KeySpec, sentence: str) -> None:
        for check_mode in (True, False):
            with pytest.raises(KeyProblem, match=sentence):
                ensure_key(spec, check_mode)
        assert not os.path.lexists(spec.path)

    @pytest.mark.parametrize("others", [0o020, 0o002])
    @pytest.mark.parametrize("level", [0, 1])
    def test_others_can_write(self, spec: KeySpec, key: Path, others: int, level: int) -> None:
        key.unlink()
        key.parents[level].chmod(0o755 | others)
        self.rejected(spec, f"{key.parents[level]} has mode 07.., so that others could swap the key; .*chmod go-w")

    def test_sticky_is_no_such(self, spec: KeySpec, key: Path) -> None:
        key.parent.chmod(0o1777)
        assert ensure_key(spec, False).actions == []

    @as_root
    def test_sticky_is_one_for_somebody_else_s_key(self, spec: KeySpec, key: Path) -> None:
        key.parent.chmod(0o1777)
        os.chown(key, 4242, 4242)
        before = tree(key.parent)
        with pytest.raises(KeyProblem, match="belongs to 4242 in a directory open to others"):
            ensure_key(spec, False)
        assert tree(key.parent) == before

    @as_root
    def test_somebody_else_s_directory(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        os.chown(key.parent, 4242, 4242)
        self.rejected(spec, "belongs to 4242, who could swap the key")
        assert ensure_key(dataclasses.replace(spec, owner="4242"), False).actions == ["create_key"]

    @as_root
    def test_an_unfinished_directory_of_somebody_else(self, spec: KeySpec, key: Path) -> None:
        key.unlink()
        key.parent.chmod(0o400)
        os.chown(key.parent, 4242, 4242)
        self.rejected(spec, "belongs to 4242, who could swap the key")

    def test_a_directory_that_appears_meanwhile_is_judged(self, spec: KeySpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Somebody lays a link there between our look and our mkdir."""
        way, calls = _oauth_key_files.missing_directories, []

        def late(directory: str, trusted: set[int]) -> list[str]:
            missing = way(directory, trusted)
            calls.append(directory)
            if len(calls) == 2:  # the first one only looks
                (tmp_path / "etc").symlink_to(tmp_path)
            return missing

        monkeypatch.setattr(_oauth_key_files, "missing_directories", late)
        with pytest.raises(KeyProblem, match="etc is a symbolic link"):
            ensure_key(spec, False)
        assert not (tmp_path / "keys").exists()

    def test_a_directory_that_another_run_makes_meanwhile_is_used(self, spec: KeySpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        way, calls = _oauth_key_files.missing_directories, []

        def late(directory: str, trusted: set[int]) -> list[str]:
            missing = way(directory, trusted)
            calls.append(directory)
            if len(calls) == 2:  # the first one only looks
                Path(directory).mkdir(parents=True)
            return missing

        monkeypatch.setattr(_oauth_key_files, "missing_directories", late)
        assert ensure_key(spec, False).actions == ["create_key"]

    def test_symbolic_link_on_the_way(self, spec: KeySpec, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "etc").symlink_to(tmp_path / "real")
        self.rejected(spec, f"etc is a symbolic link; name the file by its real path, below {tmp_path}/real")

    def test_file_on_the_way(self, spec: KeySpec, tmp_path: Path) -> None:
        (tmp_path / "etc").touch()
        self.rejected(spec, "etc is not a directory")

    @pytest.mark.parametrize("path", ["signing.pem", "/etc/../signing.pem", "/etc//signing.pem", "//signing.pem", "/etc/"])
    def test_path_with_a_detour(self, spec: KeySpec, path: str) -> None:
        with pytest.raises(KeyProblem, match="allowed is an absolute path without detours"):
            ensure_key(dataclasses.replace(spec, path=path), True)

    @pytest.mark.parametrize("option", ["owner", "group"])
    def test_nobody_has_that_name(self, spec: KeySpec, option: str, tmp_path: Path) -> None:
        changed: dict[str, Any] = {option: "nobody-yet"}
        with pytest.raises(KeyProblem, match=f"{option} is nobody-yet, which this host does not have"):
            ensure_key(dataclasses.replace(spec, **changed), False)
        assert list(tmp_path.iterdir()) == []

    def test_check_mode_waits_for_a_run_but_not_for_another_check(self, spec: KeySpec, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key has two names for a moment while it is made, which a check must not see."""
        operations = []
        monkeypatch.setattr(fcntl, "flock", lambda _descriptor, operation: operations.append(operation))
        ensure_key(spec, True)
        ensure_key(spec, False)
        assert operations == [fcntl.LOCK_SH, fcntl.LOCK_SH, fcntl.LOCK_EX]

    def test_no_locks(self, spec: KeySpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def flock(_descriptor: int, _operation: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(KeyProblem, match=r"cannot be locked \(Operation not supported\), so that two runs could make"):
            ensure_key(spec, False)
        assert list(tmp_path.iterdir()) == []


class TestLeftovers:
    @pytest.mark.parametrize("linked", [False, True])
    def test_are_removed(self, spec: KeySpec, key: Path, linked: bool) -> None:
        leftover = key.with_name(".signing.pem.0123456789abcdef.tmp")
        leftover.hardlink_to(key) if linked else leftover.write_bytes(b"half")
        outcome = ensure_key(spec, False)
        assert outcome.actions == ["remove_leftovers"]
        assert [each.name for each in key.parent.iterdir()] == [key.name]
        assert outcome.key == read_pem(key.read_bytes(), "EdDSA")

    @pytest.mark.parametrize(
        "name",
        [".signing.pem.tmp", "signing.pem.bak", ".other.pem.0123456789abcdef.tmp", ".signingxpem.0123456789abcdef.tmp"],
    )
    def test_other_files_are_not_touched(self, spec: KeySpec, key: Path, name: str) -> None:
        key.with_name(name).touch()
        assert ensure_key(spec, False).actions == []
        assert key.with_name(name).exists()

    def test_a_directory_of_such_a_name_is_not_touched(self, spec: KeySpec, key: Path) -> None:
        key.with_name(".signing.pem.0123456789abcdef.tmp").mkdir()
        assert ensure_key(spec, False).actions == []
