# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing keys in memory: PKCS#8 PEM (RFC 5958), JWK and JWK set (RFC 7517), thumbprint (RFC 7638).

It touches no file. The modules oauth_key and oauth_key_info use it, and the health check on the host.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import traceback
import typing as t

try:
    from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
except ImportError:
    CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = None

if t.TYPE_CHECKING:
    PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

Jwk = dict[str, t.Any]

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
YEAR_9999 = 253402300799  # in seconds since the epoch
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518, section 6; RFC 8037, section 2


class KeyProblem(Exception):
    """A key cannot be made or trusted; the text is one sentence for the operator on why, and what to do."""


@dataclasses.dataclass(frozen=True)
class KeyInfo:
    """The public half of a key.

    alg: its JWS algorithm. kid: its thumbprint (RFC 7638). fingerprint: SHA-256 of its SubjectPublicKeyInfo, in hex.
    jwk: it as it is published.
    """

    alg: str
    kid: str
    fingerprint: str
    jwk: Jwk


# ---- One key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _base64url_uint(number: int, length: int | None = None) -> str:
    """Encode as RFC 7518 does: big-endian, in the fewest bytes or, for a coordinate, in the curve's length."""
    return _base64url(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def public_jwk(key: PublicKey) -> dict[str, str]:
    """Return the members of a public key's JWK that identify it (RFC 7638 section 3.2, RFC 8037 section 2)."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    numbers = key.public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        return {"crv": "P-256", "kty": "EC", "x": _base64url_uint(numbers.x, 32), "y": _base64url_uint(numbers.y, 32)}
    return {"e": _base64url_uint(numbers.e), "kty": "RSA", "n": _base64url_uint(numbers.n)}


def thumbprint(jwk: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of a JWK of required members, base64url without padding (RFC 7638)."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode("ascii")).digest())


def generate_pem(algorithm: str, size: int) -> bytes:
    """Return a new private key as unencrypted PKCS#8 PEM."""
    key: PrivateKey
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def bits(key: KeyInfo) -> int:
    """Return the size of an RSA key in bits; 0 of another one."""
    number = str(key.jwk.get("n", ""))
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()


def read_pem(pem: bytes, algorithm: str | None) -> KeyInfo:
    """Parse a private key, prove it by a signature and return its public half.

    algorithm: the one it has to be for; None takes any that this file knows. Raises KeyProblem, its sentence without
    a subject and a full stop, when pem is not a PKCS#8 key of the algorithm that signs.
    """
    advice = "restore it from a backup, or move it away to have a new key made"
    match = re.search(rb"-----BEGIN ([A-Z0-9 ]+)-----", pem)
    label = "" if match is None else match[1].decode("ascii")
    if not label:
        raise KeyProblem(f"holds no key in PEM; {advice}")
    if label == "ENCRYPTED PRIVATE KEY":
        raise KeyProblem(
            "is encrypted, and a service that starts by itself has no passphrase; decrypt it with openssl pkcs8, or move it away to have a new key made"
        )
    if label != "PRIVATE KEY":
        raise KeyProblem(f'holds a "{label}", not PKCS#8; convert it with openssl pkcs8 -topk8 -nocrypt, or move it away to have a new key made')
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        found = _algorithm(key)
        if found == algorithm or (algorithm is None and found in _ALGORITHMS):
            return _proven(t.cast("PrivateKey", key), found)
    # InternalError: a key that is not as long as those of its algorithm, X448 say, which OpenSSL does not take.
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, InternalError):
        raise KeyProblem(f"holds a key that is corrupt: it cannot be parsed, or does not sign; {advice}") from None
    raise KeyProblem(
        f"holds a key for {found}, but {algorithm or 'one of ' + ', '.join(_ALGORITHMS)} was requested; "
        "request what is there, rotate to what is requested, or move the key away to have a new one made"
    )


_ALGORITHMS = ("EdDSA", "ES256", "RS256")


def _algorithm(key: object) -> str:
    """Return the JWS algorithm that a private key serves or, of any other key, what it is."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ES256" if isinstance(key.curve, ec.SECP256R1) else f"the curve {key.curve.name}"
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256" if key.key_size >= MIN_RSA_BITS else f"RSA with {key.key_size} bits, fewer than RS256 needs"
    return type(key).__name__.replace("PrivateKey", "")


def _proven(key: PrivateKey, algorithm: str) -> KeyInfo:
    """Sign, verify and return the public half; raises InvalidSignature or ValueError if the halves are no pair."""
    message = b"nous.vm.oauth_key"
    public = key.public_key()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        key.public_key().verify(key.sign(message), message)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        ecdsa = ec.ECDSA(hashes.SHA256())
        key.public_key().verify(key.sign(message, ecdsa), message, ecdsa)
    else:
        pkcs1, sha256 = padding.PKCS1v15(), hashes.SHA256()
        key.public_key().verify(key.sign(message, pkcs1, sha256), message, pkcs1, sha256)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    identity = public_jwk(public)
    kid = thumbprint(identity)
    return KeyInfo(
        alg=algorithm,
        kid=kid,
        fingerprint=hashlib.sha256(der).hexdigest(),
        jwk={**identity, "kid": kid, "use": "sig", "alg": algorithm},
    )


# ---- The set that is published


def parse_jwks(text: bytes) -> list[Jwk]:
    """Return the keys of a JWK set (RFC 7517, section 5).

    Raises KeyProblem, its sentence without a subject and a full stop, for anything that this collection does not write.
    """
    advice = "restore it, or move it away to have it made anew without the old keys"
    try:
        document = json.loads(text)
    except ValueError:
        raise KeyProblem(f"holds no JSON; {advice}") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise KeyProblem(f"holds no JWK set (RFC 7517); {advice}")
    if any(PRIVATE_MEMBERS & key.keys() for key in keys):
        raise KeyProblem(
            "publishes the private half of a key, with which whoever read it can sign; move it away and the private key with it, to have both made anew"
        )
    kids = [key.get("kid") for key in keys]
    if not all(isinstance(kid, str) for kid in kids) or len(set(kids)) < len(kids):
        raise KeyProblem(f"holds keys that no kid of their own tells apart; {advice}")
    if not all(_is_time(key.get("exp", 0)) for key in keys):
        raise KeyProblem(f"holds a key with an exp that is no time in seconds; {advice}")
    return keys


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= YEAR_9999


def render_jwks(keys: list[Jwk]) -> bytes:
    """Return keys as a JWK set."""
    return (json.dumps({"keys": keys}, indent=2) + "\n").encode("ascii")
