# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret on a host, in whatever way a text has it, is in no text that leaves."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.redaction import MARK, RECORD, Redactor, values

CANARY = 'ca"n\\ary/%-$ü?&=+w 7'
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json without escapes": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "url": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
    "url in lower case": lambda text: re.sub("%..", lambda code: code[0].lower(), quote(text, safe="")),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "html": html.escape,
    "html as Go has it": lambda text: html.escape(text).replace("&quot;", "&#34;"),
    "unit": lambda text: text.replace("%", "%%"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding(encoding: str) -> None:
    encoded = ENCODINGS[encoding](CANARY)
    redactor = Redactor([CANARY])
    assert redactor.holds(f"of{encoded}all")
    assert redactor.text(f"words {encoded}, and") in (f"words {MARK}, and", f"words {MARK}=, and", f"words {MARK}==, and")
    assert redactor.count == 1


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_base64_of_more_than_the_value(before: str, after: str) -> None:
    """What stands beside it moves it by bits: at most its first and last character are left."""
    text = base64.b64encode(f"{before}correct-horse-battery{after}".encode()).decode()
    seen = Redactor(["correct-horse-battery"]).text(text)
    assert MARK in seen
    left = base64.b64decode((seen.partition(MARK)[0] + "AAAA")[: len(seen.partition(MARK)[0]) // 4 * 4])
    assert not [size for size in range(4, 21) if b"correct-horse-battery"[:size] in left]


@pytest.mark.parametrize(
    ("content", "secret", "other"),
    [
        ("s3cret\n", ["s3cret"], []),
        ("#begins so\n", ["#begins so"], []),
        ('# Managed by Ansible (nous.vm).\nAPI="a \\"b\\" c\\$"\nMORE=plain9\nON=true\n', ['a "b" c$', "plain9"], ["true", "# Managed by Ansible (nous.vm)."]),
        ('LINES="first line\nsecond line"\n', ["first line\nsecond line", "first line", "second line"], []),
        ("https://user:p%40ss@hooks.example.org/services/T000ABCD1/XyZ\n", ["p%40ss", "p@ss", "T000ABCD1"], ["services", "hooks.example.org"]),
        ("machine example.org login me password pa55wd\n", ["pa55wd"], ["example.org"]),
        (
            json.dumps({"abc": {"client_secret": "verysecret", "client_name": "Claude", "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"]}}),
            ["verysecret"],
            ["Claude", "https://claude.ai/api/mcp/auth_callback", "abc"],
        ),
        (json.dumps({"refresh:t0ken-of-the-client": {"scopes": ["user"]}}), ["t0ken-of-the-client"], ["user"]),
        (json.dumps([{"token": "abcdefghijk", "expires_at": 5, "none": None}]), ["abcdefghijk"], []),
        (json.dumps({"url": "https://me:hidden@example.org/x"}), ["hidden"], ["example.org"]),
        ("[" * 100_000, ["[" * 100_000], []),
        ("https://[broken\n", ["https://[broken"], []),
    ],
    ids=["password", "comment", "variables", "lines", "url", "netrc", "clients", "names", "tokens", "address", "nested", "no url"],
)
def test_values_of_a_file(content: str, secret: list[str], other: list[str]) -> None:
    found = values(content.encode())
    assert set(secret) <= found
    assert not set(other) & found


def test_every_line_of_a_key() -> None:
    pem = jwk.generate_pem("RS256", 2048)
    redactor = Redactor(values(pem))
    for line in pem.decode().splitlines()[1:-1]:
        assert redactor.text(f"seen {line}.") == f"seen {MARK}."
    assert redactor.text("".join(pem.decode().splitlines()[1:-1])) == MARK


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Authorization: Basic dXNlcjpwYXNz, and more", f"Authorization: {MARK}"),
        ('{"Cookie": "a=b"}', f'{{"Cookie": {MARK}'),
        ("sent Bearer abcdefgh12 to", f"sent Bearer {MARK} to"),
        ("got eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2ln done", f"got {MARK} done"),
        ("clone https://me:pw@git.example.org/x", f"clone https://{MARK}@git.example.org/x"),
        ("GET /callback?code=abc&state=x HTTP/2", f"GET /callback?{MARK} HTTP/2"),
        ("run --environment A=b --env=C", f"run --environment {MARK} --env={MARK}"),
        ("API_TOKEN=abc client_secret: 'd e' next", f"API_TOKEN={MARK} client_secret: {MARK} next"),
        ('{"password": "x y", "n": 1}', f'{{"password": {MARK}, "n": 1}}'),
        ("[Service]\nEnvironment=A=b \\\n  C=d\nUser=x", f"[Service]\nEnvironment={MARK}\nUser=x"),
        ("Environment=A=b\nExecStart=/x", f"Environment={MARK}\nExecStart=/x"),
        ("SetCredential=k: v", f"SetCredential={MARK}"),
        ("a\n-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----\nb", f"a\n{MARK}\nb"),
        ("a\n-----BEGIN EC PRIVATE KEY-----\nMC4\ncut", f"a\n{MARK}"),
        ('a\nnous: {"entry_hash": "00", "tool": "x"}\nb', f"a\n{RECORD}\nb"),
        ("LoadCredential=signing-key:/etc/nous/key.pem", "LoadCredential=signing-key:/etc/nous/key.pem"),
        ("12 tokens; exit-code; the token is gone", "12 tokens; exit-code; the token is gone"),
    ],
)
def test_what_has_the_shape_of_a_secret(text: str, seen: str) -> None:
    assert Redactor([]).text(text) == seen


def test_a_short_one_is_found_as_a_word() -> None:
    redactor = Redactor(["horse", "abc"])
    assert redactor.text("a horse, seahorses abc") == f"a {MARK}, seahorses abc"
    assert redactor.holds("horse") and not redactor.holds("horses")


def test_values_that_overlap() -> None:
    redactor = Redactor(["abcdefgh1", "defgh12345", "abcdefgh123"])
    assert redactor.text("-abcdefgh12345-") == f"-{MARK}-"
    assert redactor.text("abcdefgh1abcdefgh1") == MARK * 2


def test_a_document() -> None:
    redactor = Redactor(["longsecret", "8443", "a"])
    given = {"longsecret": [1, None, True, 8443, "of longsecret", ("x",)], "n": 1.5}
    assert redactor.document(given) == {MARK: [1, None, True, MARK, f"of {MARK}", ["x"]], "n": 1.5}


def test_too_many() -> None:
    with pytest.raises(ForeignError, match="20001 values are secret; at most 20000"):
        Redactor(map(str, range(20_001)))


def cpu(text: str) -> float:
    began = time.process_time()
    Redactor(["x" * 20]).text(text)
    return time.process_time() - began


@pytest.mark.parametrize("text", ["a" * 5, "\n" * 5, "eyJ-", "a-" * 2, '"' * 5, "?a" * 2, "token"])
def test_no_text_takes_long(text: str) -> None:
    """Who prints into the journal must not be able to hold root up: half a MB takes 0.1 to 0.5 s of CPU, and ten times the text takes ten times as long."""
    short, long = (min(cpu(text * (length // len(text))) for _try in range(2)) for length in (50_000, 500_000))
    assert long / short < 32, f"{short:.2f} s, {long:.2f} s"  # the square would be 100 times as long
