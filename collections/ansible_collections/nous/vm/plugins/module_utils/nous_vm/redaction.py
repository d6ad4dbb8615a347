# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking secrets out of text that leaves the host: the values that files of this host hold, however they are encoded, and what has the shape of a secret.

A value is looked for at every place of a text, whatever stands around it, so the work depends on the length of the text and not on how many values there are.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from .errors import ForeignError
from .foreign import printable

MARK = "[redacted]"
RECORD = "[a record of the audit log]"
WHOLE = 8  # characters from which on a value is looked for within words too; a shorter one is looked for as a word
LINE = 2000  # characters of a line that are kept: a shape is looked for within a line, in a time that grows faster than it
LEAST = 4  # characters from which on it is looked for at all
MOST = 20_000  # values that are looked for

_ASSIGNED = re.compile(r'^\s*(?:export\s+)?[A-Za-z_]\w*=(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\n]*))', re.MULTILINE | re.DOTALL)
_ORDINARY = re.compile(r"[a-z]{0,12}|.{0,7}")  # a part of a URL, such as services, that would be found where it is no secret
_COMMON = {"true", "false", "none", "null", "root", "nous"}
_NAMED = re.compile(r"secret|token|passw|key|code|credential", re.IGNORECASE)
_VALUE = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"',;&]+)"""
_WORDS = ("password", "passwd", "passphrase", "secret", "token", "api[_-]?key", "private[_-]?key", "access[_-]?key", "enrolment[ _-]code", "code_verifier")
_NAME = "(?:" + "|".join(_WORDS) + ")"
# What has the shape of a secret, and what stands for it: of some the beginning stays.
_SHAPES = [
    (re.compile(r"^.*\bentry_hash\b.*$", re.MULTILINE), RECORD),
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL), MARK),
    (re.compile(r"^([ \t]*(?:Environment|SetCredential(?:Encrypted)?)[ \t]*=)(?:.*\\\n)*.*$", re.MULTILINE), rf"\1{MARK}"),
    (re.compile(r"""((?:proxy-)?authorization["']?\s*[:=]\s*).*""", re.IGNORECASE), rf"\1{MARK}"),
    (re.compile(r"""(\b(?:set-)?cookie["']?\s*[:=]\s*).*""", re.IGNORECASE), rf"\1{MARK}"),
    (re.compile(r"\b(Bearer|Basic|Digest|DPoP)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {MARK}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*"), MARK),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^/\s\"'@]*@", re.IGNORECASE), rf"\1{MARK}@"),
    (re.compile(r"\?[\w.~%+\[\]-]+=[^\s\"'<>]*"), f"?{MARK}"),
    (re.compile(rf"(--(?:environment|setenv|env|password|token|secret)(?:=|\s+)){_VALUE}"), rf"\1{MARK}"),
    (re.compile(rf"""({_NAME}["']?\s*[=:]\s*)(?!\[redacted){_VALUE}""", re.IGNORECASE), rf"\1{MARK}"),
]


def values(content: bytes) -> set[str]:
    """Return the values in a file that is secret: a password, a URL, lines NAME=VALUE, a private key or a JSON document."""
    text = content.decode("utf-8", "surrogateescape")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict | list):
        return set(_of_json(document))
    found = {text.strip()}
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith(("#", "-----"))]
    found |= set(lines)
    for match in _ASSIGNED.finditer(text):
        value = next((each for each in match.groups() if each is not None), "").strip()
        plain = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        found |= {value, plain, *plain.splitlines()}
    found |= set(re.findall(r"\bpassword\s+(\S+)", text))  # netrc
    for each in list(found):
        if "://" in each:
            found |= set(_of_url(each))
    if "-----BEGIN " in text:
        found.add("".join(lines))
    return {each for each in found if len(each) >= LEAST and each.lower() not in _COMMON}


def _of_json(value: Any, named: bool = False) -> Iterator[str]:
    """Yield what in a document is secret: what a name says is, and what no person would choose. Names themselves may be tokens."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _of_json(name)
            yield from _of_json(each, bool(_NAMED.search(str(name))))
    elif isinstance(value, list):
        for each in value:
            yield from _of_json(each, named)
    elif isinstance(value, str):
        last = value.rpartition(":")[2]
        for each in (value, last):
            random = len(each) >= 12 and any(char.isdigit() for char in each) and not re.search(r"\s|://", each)
            if random or (named and len(each) >= WHOLE):
                yield each
        if "://" in value and urlsplit(value).password:
            yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    """Yield the parts of a URL that may be a secret alone: of its path too, in which webhooks have theirs."""
    try:
        parts = urlsplit(url)
        yield from (form for each in (parts.password, parts.username) if each for form in (each, unquote(each)))
    except ValueError:
        return
    words = [each for each in re.split(r"[/?&=]", f"{parts.path}?{parts.query}") if not _ORDINARY.fullmatch(each)]
    yield from (form for each in (parts.path, f"{parts.path}?{parts.query}", *words) for form in (each, unquote(each)))


def forms(value: str) -> set[str]:
    """Return a value in all encodings that it may have in a text."""
    raw = value.encode("utf-8", "surrogateescape")
    plain = value.encode("utf-8", "replace").decode("utf-8")
    quoted = {quote(raw, safe=safe) for safe in ("", "/", "/:@?&=+$,;~")} | {quote_plus(raw)}
    found = {value, plain, json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1], printable(plain, 1 << 20)}
    found |= {
        plain.replace("%", "%%"),
        plain.replace("$", "$$"),
        re.sub(r'(["\\`$])', r"\\\1", plain),
        html.escape(plain),
        html.escape(plain).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    }
    found |= quoted | {re.sub("%..", lambda code: code[0].lower(), each) for each in quoted}
    found |= {raw.hex(), raw.hex().upper()} if len(raw) >= LEAST else set()
    return {each for each in found | set(_base64(raw)) if len(each) >= LEAST}


def _base64(raw: bytes) -> Iterator[str]:
    """Yield what is in a Base64 text that has these bytes in it, wherever they begin: all of its characters that depend on no others."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode("ascii")
        begin, end = -(-8 * shift // 6), 8 * (shift + len(raw)) // 6
        inner = text[begin:end]
        if len(inner) >= LEAST and (shift == 0 or len(inner) >= WHOLE):
            yield inner
            yield inner.translate({ord("+"): "-", ord("/"): "_"})


class Redactor:
    """Replaces secrets in text. count: how many it replaced."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = set(secrets)
        if len(known) > MOST:
            raise ForeignError(f"{len(known)} values are secret; at most {MOST} are looked for")
        encoded = {each for value in known for each in forms(value)}
        self.count = 0
        self._index: dict[str, list[str]] = {}
        for each in encoded:
            if len(each) >= WHOLE:
                self._index.setdefault(each[:WHOLE], []).append(each)
        short = sorted((each for each in encoded if len(each) < WHOLE), key=len, reverse=True)
        self._short = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, short))})(?!\w)") if short else None

    def text(self, text: str) -> str:
        """Return a text without secrets; of a line that is too long its beginning."""
        text = "\n".join(line if len(line) <= LINE else f"{line[:LINE]}..." for line in self._known(text).split("\n"))
        for pattern, instead in _SHAPES:
            text, count = pattern.subn(instead, text)
            self.count += count
        return text

    def document(self, value: Any) -> Any:
        """Return what JSON can hold, without secrets in its texts and names."""
        if isinstance(value, dict):
            return {self.text(str(name)): self.document(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(each) for each in value]
        if value is None or isinstance(value, bool):
            return value
        made = self.text(str(value))
        return value if made == str(value) else made

    def holds(self, text: str) -> bool:
        """Tell whether a value is in a text."""
        return next(self._places(text), None) is not None or bool(self._short and self._short.search(text))

    def _known(self, text: str) -> str:
        made, end = [], 0
        for start, length in self._places(text):
            if start + length > end:
                if start >= end:
                    made += [text[end:start], MARK]
                    self.count += 1
                end = start + length
        text = "".join([*made, text[end:]])
        if self._short:
            text, count = self._short.subn(MARK, text)
            self.count += count
        return text

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where values begin, and how long they are, in the order of the text."""
        if not self._index:
            return
        for start in range(len(text) - WHOLE + 1):
            end = start + WHOLE
            if found := self._index.get(text[start:end]):
                lengths = [len(each) for each in found if text.startswith(each, start)]
                if lengths:
                    yield start, max(lengths)
