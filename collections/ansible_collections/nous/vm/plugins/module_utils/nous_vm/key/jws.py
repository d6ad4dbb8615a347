# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON Web Signatures in compact form (RFC 7515) with Ed25519 (RFC 8037). It touches no file.

The library is the distribution's python3-cryptography, which made the key: it signs in this process, where openssl would need the message in a file, because
its pkeyutl signs Ed25519 from nothing else before OpenSSL 3.5.
"""

from __future__ import annotations

import base64
import binascii
import json
import typing as t

from . import jwk
from .jwk import Jwk, KeyProblem

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519
except ImportError:  # jwk.CRYPTOGRAPHY_ERROR has it
    pass

TOKEN = 1 << 14  # characters of a token that are read


class Signer:
    """A private key that signs. jwk: its public half, kid: the name of it."""

    def __init__(self, pem: bytes) -> None:
        about = jwk.read_pem(pem, "EdDSA")
        self.jwk, self.kid = about.jwk, about.kid
        self._key = t.cast("ed25519.Ed25519PrivateKey", serialization.load_pem_private_key(pem, password=None))

    def sign(self, payload: dict[str, t.Any], kind: str) -> str:
        """Return a payload as a token. kind: its typ, so that no token of one purpose passes for one of another."""
        header = {"alg": "EdDSA", "kid": self.kid, "typ": kind}
        signed = ".".join(_encoded(json.dumps(each, separators=(",", ":")).encode()) for each in (header, payload))
        return f"{signed}.{_encoded(self._key.sign(signed.encode('ascii')))}"


def kid(token: str) -> str:
    """Return the name of the key that a token says it was signed with. Raises KeyProblem."""
    return str(_object(token.partition(".")[0], "header").get("kid"))


def payload(token: str) -> dict[str, t.Any]:
    """Return what a token says without asking who signed it. Raises KeyProblem."""
    return _object([*token.split("."), ""][1], "payload")


def verify(token: str, key: Jwk, kind: str) -> dict[str, t.Any]:
    """Return the payload of a token that this key signed. Raises KeyProblem, its sentence without a subject."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > TOKEN:
        raise KeyProblem("is no JWS in compact form")
    expected = {"alg": "EdDSA", "kid": key.get("kid"), "typ": kind}
    if (found := _object(parts[0], "header")) != expected:
        raise KeyProblem(f"has the header {json.dumps(found)[:200]} instead of {json.dumps(expected)}")
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(_decoded(str(key.get("x"))))
        public.verify(_decoded(parts[2]), ".".join(parts[:2]).encode("ascii"))
    except (InvalidSignature, ValueError):
        raise KeyProblem(f"has a signature that is not of the key {key.get('kid')}") from None
    return _object(parts[1], "payload")


def public_keys(jwks: bytes) -> dict[str, Jwk]:
    """Return the Ed25519 keys of a JWK set by their names, each of which is the key's own thumbprint. Raises KeyProblem."""
    return {one["kid"]: one for one in map(public_key, jwk.parse_jwks(jwks))}


def public_key(key: Jwk) -> Jwk:
    """Return a public Ed25519 key if its name is its thumbprint. Raises KeyProblem, its sentence without a subject."""
    identity = {name: key.get(name) for name in ("crv", "kty", "x")}
    if identity["kty"] != "OKP" or identity["crv"] != "Ed25519" or not isinstance(identity["x"], str):
        raise KeyProblem("holds a key that is not of Ed25519")
    if key.get("kid") != jwk.thumbprint(t.cast("dict[str, str]", identity)):
        raise KeyProblem(f"holds a key whose kid {str(key.get('kid'))[:100]} is not its thumbprint (RFC 7638)")
    return key


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    """Return the bytes; there is one text for them, so that a token cannot be another one and still verify. Raises ValueError."""
    data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encoded(data) != text:
        raise binascii.Error("not canonical")
    return data


def _object(part: str, what: str) -> dict[str, t.Any]:
    try:
        value = json.loads(_decoded(part))
    except (ValueError, RecursionError):
        raise KeyProblem(f"has a {what} that is no JSON in base64url") from None
    if not isinstance(value, dict):
        raise KeyProblem(f"has a {what} that is no JSON object")
    return value
