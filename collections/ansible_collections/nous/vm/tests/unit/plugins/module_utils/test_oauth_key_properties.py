# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for any key and any set, compared with joserfc, which shares no code with jwk."""

from __future__ import annotations

import functools
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, Outcome, ensure_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk as ours
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, JWKRegistry, KeySet, OKPKey, RSAKey

pytestmark = [
    # RFC 9864 has a name for Ed25519 alone; EdDSA is what issuers and clients use today.
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),
]

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

examples = settings(deadline=None, database=None)  # how long one takes says nothing on a shared machine


@functools.cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


ed25519_keys = st.binary(min_size=32, max_size=32).map(ed25519.Ed25519PrivateKey.from_private_bytes)
p256_keys = st.integers(1, P256_ORDER - 1).map(lambda scalar: ec.derive_private_key(scalar, ec.SECP256R1()))
rsa_keys = st.sampled_from([2048, 2056, 3072]).map(rsa_key)
dicts = st.dictionaries(st.sampled_from(["keys", "kid", "exp", "d", "kty"]), st.integers() | st.text(max_size=5))
leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
documents = st.recursive(leaves, lambda each: st.lists(each) | dicts)
keys = st.one_of(ed25519_keys, p256_keys, rsa_keys)
DAYS = st.integers(0, 400)


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def theirs(content: bytes, algorithm: str) -> OKPKey | ECKey | RSAKey:
    kinds: dict[str, type[OKPKey | ECKey | RSAKey]] = {"EdDSA": OKPKey, "ES256": ECKey, "RS256": RSAKey}
    return kinds[algorithm].import_key(content)


@examples
@given(keys)
def test_jwk_and_thumbprint_are_those_of_joserfc(key: PrivateKey) -> None:
    info = ours.read_pem(pem(key), None)
    other = theirs(pem(key), info.alg)
    identity = {name: value for name, value in info.jwk.items() if name not in ("kid", "use", "alg")}
    assert identity == other.as_dict(private=False) | identity
    assert other.as_dict(private=False).items() >= identity.items()
    assert info.kid == other.thumbprint()


@examples
@given(keys, st.binary(max_size=200))
def test_what_it_signs_is_verified_by_what_is_published(key: PrivateKey, message: bytes) -> None:
    """joserfc signs with the PEM and looks the key up in the set by its kid."""
    info = ours.read_pem(pem(key), None)
    algorithms = [info.alg]
    registry = jws.JWSRegistry(algorithms=algorithms)
    signed = jws.serialize_compact({"alg": info.alg, "kid": info.kid}, message, theirs(pem(key), info.alg), algorithms, registry=registry)
    published = KeySet.import_key_set(json.loads(ours.render_jwks([info.jwk, {**OTHER.jwk, "exp": 1}])))
    assert jws.deserialize_compact(signed, published, algorithms, registry=registry).payload == message


OTHER = ours.read_pem(ours.generate_pem("EdDSA", 0), "EdDSA")


@examples
@given(keys)
def test_a_key_reads_back(key: PrivateKey) -> None:
    """PEM to public half and back: the published members make the same public key again."""
    info = ours.read_pem(pem(key), None)
    public: Any = JWKRegistry.import_key(info.jwk).public_key
    assert ours.public_jwk(public).items() <= info.jwk.items()
    assert ours.thumbprint(ours.public_jwk(public)) == info.kid


@examples
@given(keys, st.sampled_from(["EdDSA", "ES256", "RS256"]))
def test_only_the_algorithm_asked_for_is_taken(key: PrivateKey, algorithm: str) -> None:
    found = ours.read_pem(pem(key), None).alg
    try:
        assert ours.read_pem(pem(key), algorithm).alg == algorithm == found
    except ours.KeyProblem:
        assert algorithm != found


@examples
@given(keys, st.data())
def test_a_flipped_bit_is_found_or_is_the_same_key(key: PrivateKey, data: st.DataObject) -> None:
    """Whatever bit of the file flips: the key is rejected, or it is a whole key whose halves are a pair."""
    content = bytearray(pem(key))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        info = ours.read_pem(bytes(content), None)
    except ours.KeyProblem as problem:
        assert "\n" not in str(problem)
        return
    assert info.kid == theirs(bytes(content), info.alg).thumbprint()


def test_a_key_that_claims_an_algorithm_with_longer_keys_is_rejected() -> None:
    """One flipped bit makes Ed25519 X448."""
    content = pem(ed25519.Ed25519PrivateKey.generate())
    assert b"MC4CAQAwBQYDK2Vw" in content
    with pytest.raises(ours.KeyProblem, match="is corrupt"):
        ours.read_pem(content.replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vv"), None)


@examples
@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(content: bytes) -> None:
    for read in (lambda: ours.read_pem(content, None), lambda: ours.parse_jwks(content)):
        try:
            read()
        except ours.KeyProblem as problem:
            assert "\n" not in str(problem)


@examples
@given(documents)
def test_no_document_breaks_the_reader(document: object) -> None:
    for content in (document, {"keys": document}, {"keys": [document]}):
        try:
            parsed = ours.parse_jwks(json.dumps(content).encode())
        except ours.KeyProblem:
            continue
        assert ours.parse_jwks(ours.render_jwks(parsed)) == parsed


STEPS = st.one_of(
    st.tuples(st.just("wait"), DAYS),
    st.tuples(st.sampled_from(["keep", "begin", "finish", "restart"]), st.just(0)),
)


@examples
@given(st.lists(STEPS, max_size=12))
def test_no_order_of_events_makes_a_gap(events: list[tuple[str, int]]) -> None:
    """A service that restarts whenever it likes, an operator who runs things in any order, time that passes.

    What the service signs with is always published, and stays so for the overlap after it last signed with it,
    as long as finish comes after a restart, as the playbook has it.
    """
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        me = {"owner": str(os.geteuid()), "group": str(os.getegid())}
        options: dict[str, Any] = {"path": f"{directory}/keys/signing.pem", "jwks_path": f"{directory}/jwks.json", **me}
        options |= {f"jwks_{name}": value for name, value in me.items()}

        def run(rotation: str) -> Outcome:
            return ensure_key(KeySpec(**options, rotation=rotation, overlap_days=31, minimum_interval_days=7), False)

        loaded = run("keep").facts()["kid"]
        signed: dict[str, int] = {}  # days since the service last signed with a key
        rotated = None  # days since the last rotation
        for event, days in events:
            signed[loaded] = 0
            if event == "wait":
                signed = {kid: since + days * (kid != loaded) for kid, since in signed.items()}
                rotated = None if rotated is None else rotated + days
                age(directory, days)
                continue
            if event == "finish":
                loaded = run("keep").facts()["kid"]
            if event == "restart":
                loaded = run("keep").facts()["kid"]
                continue
            outcome = run(event)
            if "activate_key" in outcome.actions:
                assert rotated is None or rotated >= 7
                rotated = 0
            published = {key["kid"] for key in outcome.facts()["published"]}
            assert {kid for kid, since in signed.items() if since < 31} <= published
            assert outcome.facts()["kid"] in published
            assert loaded in published
            assert run(event).actions == []


def age(directory: str, days: int) -> None:
    path, jwks = Path(directory, "keys/signing.pem"), Path(directory, "jwks.json")
    then = path.stat().st_mtime - days * 86400
    os.utime(path, (then, then))
    entries = json.loads(jwks.read_bytes())["keys"]
    for entry in entries:
        if "exp" in entry:
            entry["exp"] -= days * 86400
    jwks.write_text(json.dumps({"keys": entries}), encoding="ascii")
    assert time.time() >= then
