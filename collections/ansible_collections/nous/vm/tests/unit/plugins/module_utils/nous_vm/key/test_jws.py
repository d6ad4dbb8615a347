# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: what is signed is what is read, and nothing else is taken for a token of this kind."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jws
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem, generate_pem, render_jwks
from joserfc import jws as other
from joserfc.jwk import OKPKey

KEY = jws.Signer(generate_pem("EdDSA", 0))
KIND = "test"
TOKEN = KEY.sign({"a": 1}, KIND)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_another_library_verifies_it_and_the_other_way_round() -> None:
    public = OKPKey.import_key(KEY.jwk)
    assert json.loads(other.deserialize_compact(TOKEN, public, algorithms=["EdDSA"]).payload) == {"a": 1}
    private = OKPKey.generate_key("Ed25519")
    key = jws.public_key({**private.as_dict(private=False), "kid": private.thumbprint()})
    token = other.serialize_compact({"alg": "EdDSA", "kid": key["kid"], "typ": KIND}, b'{"b": 2}', private, algorithms=["EdDSA"])
    assert jws.verify(token, key, KIND) == {"b": 2}


def test_what_it_says_without_its_signature() -> None:
    assert jws.kid(TOKEN) == KEY.kid
    assert jws.payload(TOKEN) == {"a": 1}


HEADER = {"alg": "EdDSA", "kid": KEY.kid, "typ": KIND}
SIGNATURE = TOKEN.rpartition(".")[2]


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("", "is no JWS in compact form"),
        ("a.b", "is no JWS in compact form"),
        (f"{part(HEADER)}.{'A' * jws.TOKEN}.{SIGNATURE}", "is no JWS in compact form"),
        (f"{part({**HEADER, 'alg': 'none'})}.{part({'a': 1})}.", "has the header"),
        (f"{part({**HEADER, 'crit': ['x']})}.{part({'a': 1})}.{SIGNATURE}", "has the header"),
        (KEY.sign({"a": 1}, "another"), "has the header"),
        (f"{part(HEADER)}.{part({'a': 2})}.{SIGNATURE}", "has a signature that is not of the key"),
        (f"{TOKEN}A", "has a signature that is not of the key"),
        (f"{TOKEN}=", "has a signature that is not of the key"),
        ("é.a.b", "has a header that is no JSON in base64url"),
        (f"{part([1])}.a.b", "has a header that is no JSON object"),
    ],
)
def test_what_is_rejected(token: str, sentence: str) -> None:
    with pytest.raises(KeyProblem, match=sentence):
        jws.verify(token, KEY.jwk, KIND)


def test_there_is_one_text_for_a_signature() -> None:
    """The last character of 64 bytes in base64 has four bits that say nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(TOKEN[-1]) ^ 1]
    with pytest.raises(KeyProblem, match="signature"):
        jws.verify(TOKEN[:-1] + twin, KEY.jwk, KIND)


@pytest.mark.parametrize("jwk", [{"kty": "RSA", "kid": "a"}, {"kty": "OKP", "crv": "Ed25519", "kid": "a"}, {**KEY.jwk, "kid": "a"}])
def test_keys_that_are_none(jwk: dict[str, str]) -> None:
    with pytest.raises(KeyProblem, match="holds a key"):
        jws.public_keys(render_jwks([jwk]))
    assert jws.public_keys(render_jwks([KEY.jwk])) == {KEY.kid: KEY.jwk}
