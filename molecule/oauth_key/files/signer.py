#!/usr/bin/python3
"""A service that loads its key once, as one does, and signs a token with it several times a second.

Each token is verified at once by what is published at that moment, by code of its own. What is not verified is a gap.
`signer.py verify` verifies all tokens so far by what is published now, and prints how many by kid: those that it did, those that it did not.
"""

import base64
import collections
import json
import os
import sys
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

PUBLISHED = Path("/etc/nous/jwks.json")
STATE = Path("/var/lib/key-signer")


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(token: str) -> tuple[str, bool]:
    header, payload, signature = token.split(".")
    kid: str = json.loads(decode(header))["kid"]
    for key in json.loads(PUBLISHED.read_bytes())["keys"]:
        if key["kid"] == kid:
            try:
                ed25519.Ed25519PublicKey.from_public_bytes(decode(key["x"])).verify(decode(signature), f"{header}.{payload}".encode())
            except InvalidSignature:
                return kid, False
            return kid, True
    return kid, False


def serve() -> None:
    pem = Path(os.environ["CREDENTIALS_DIRECTORY"], "signing-key").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    x = encode(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    kid = next(each["kid"] for each in json.loads(PUBLISHED.read_bytes())["keys"] if each["x"] == x)
    with (STATE / "tokens").open("a", buffering=1) as tokens, (STATE / "gaps").open("a", buffering=1) as gaps:
        while True:
            head = f"{encode(json.dumps({'alg': 'EdDSA', 'kid': kid}).encode())}.{encode(str(time.time()).encode())}"
            token = f"{head}.{encode(key.sign(head.encode()))}"
            print(token, file=tokens)
            if not verified(token)[1]:
                print(token, file=gaps)
            time.sleep(0.05)


def so_far(name: str) -> list[str]:
    # The service may not have come as far as to open them.
    return (STATE / name).read_text().split() if (STATE / name).exists() else []


def verify() -> None:
    found: collections.defaultdict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for token in so_far("tokens"):
        kid, good = verified(token)
        found["verified" if good else "rejected"][kid] += 1
    print(json.dumps({"verified": found["verified"], "rejected": found["rejected"], "gaps": len(so_far("gaps"))}))


if __name__ == "__main__":
    verify() if sys.argv[1:] == ["verify"] else serve()
