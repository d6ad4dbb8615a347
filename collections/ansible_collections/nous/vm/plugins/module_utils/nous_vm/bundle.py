# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One archive about this host for a person who helps: what the parts of it give, without secrets, and a manifest of what is in it and what is not, and why.

A subpackage may have a module support, with any of: secrets(), which yields the files that hold its secrets, and texts that are secret; folders(), of which
modes, owners, sizes and times are listed; DOCUMENTS, functions by their names that return what JSON can hold; UNITS, patterns of the units that have no file;
VERSIONS, commands that print one. One that has secrets has to have it: what is not known to be secret is not taken out.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import json
import signal
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from . import VERSION, times
from .errors import NousVmError
from .foreign import printable, read_file
from .health import applied
from .redaction import LINE, Redactor, values

MANIFEST = "manifest.json"
FORM = 1
PART = 75.0  # seconds that one part gets: the check has 60 of its own
ALL = 240.0  # seconds that all of them get
MEMBER, TOTAL = 512 << 10, 32 << 20  # bytes of one member, and of all before they are compressed
SECRET = 16 << 20  # bytes of a file with secrets
NEVER = {
    "files that hold secrets (secrets.env, private keys, passwords, URLs of alerts)": "they are secret",
    "OAuth's clients and tokens": "they are secret",
    "records of the audit log, its archives and anchors": "they are what people did; nous.vm.fetch_audit is the way to them",
    "the server's data, backups and releases": "they are large, and people's own",
    "values of Environment= and SetCredential=": "they may be secret",
    "queries of URLs, cookies, Authorization headers": "they may be secret",
}
OWN = "host names, addresses, names of users and paths are in it: give it to nobody who must not know them"


class Part(NamedTuple):
    """What is asked for a bundle: the name of its member, what it is, and what returns it: text, or what JSON can hold.

    foreign: whether others print into it. It is left out if a file with secrets cannot be read, of which nobody knows then what to take out.
    """

    name: str
    about: str
    make: Callable[[], Any]
    foreign: bool = True


class Late(BaseException):
    """A part did not end within its time. Whatever it suppresses, it does not suppress this."""


class Bundle:
    """An archive that is made in memory, within bounds."""

    def __init__(self, redactor: Redactor, unread: dict[str, str], deadline: float) -> None:
        self.redactor, self.unread, self.deadline = redactor, unread, deadline
        self.members: dict[str, bytes] = {}
        self.about: dict[str, str] = {}
        self.failed: dict[str, str] = {}  # by the names of parts, why they are left out

    def add(self, part: Part) -> None:
        """Add a part; one that breaks, hangs or is too large is a line of the manifest."""
        left = min(PART, self.deadline - time.monotonic())
        if part.foreign and self.unread:
            self._omit(part, f"a secret could be in it: {'; '.join(f'{path} {why}' for path, why in self.unread.items())}")
        elif left <= 0:
            self._omit(part, f"there was no time left for it: all parts get {ALL:g} s")
        else:
            try:
                with _alarm(left):
                    self._take(part, part.make())
            except Late:
                self._omit(part, f"it did not end within {left:.0f} s")
            except Exception as error:  # noqa: BLE001 - whatever a part does, the others are still wanted
                self._omit(part, f"{type(error).__name__}: {error}")

    def _take(self, part: Part, made: Any) -> None:
        if isinstance(made, str):
            text = self.redactor.text(made)
            if part.foreign:
                text = self.redactor.text("\n".join(printable(line, 2 * LINE) for line in text.splitlines()))
            text, cut = _cut(text)
        else:
            text, cut = json.dumps(self.redactor.document(made), indent=2), False
        content = f"{text}\n".encode("utf-8", "backslashreplace")
        if self.redactor.holds(text):
            self._omit(part, "a secret is still in it")
        elif len(content) > MEMBER + LINE or sum(map(len, self.members.values())) + len(content) > TOTAL:
            self._omit(part, f"it has {len(content)} bytes; a member may have {MEMBER}, and all {TOTAL}")
        else:
            self.members[part.name] = content
            self.about[part.name] = f"{part.about}; the beginning was cut off" if cut else part.about

    def _omit(self, part: Part, why: str) -> None:
        self.failed[part.name] = printable(self.redactor.text(why))

    @property
    def left_out(self) -> dict[str, str]:
        """What is not in it, and why."""
        return NEVER | self.failed

    def archive(self, name: str, host: str, began: float) -> bytes:
        """Return the archive. name: of the folder that everything is in."""
        now = time.time()
        manifest = {
            "form": FORM,
            "collection": VERSION,
            "host": host,
            "at": times.iso(began),
            "seconds": round(now - began, 1),
            "members": {each: {"bytes": len(content), "is": self.about[each]} for each, content in sorted(self.members.items())},
            "left_out": self.left_out,
            "redacted": self.redactor.count,
            "note": OWN,
        }
        file = io.BytesIO()
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=now) as packed, tarfile.TarFile(fileobj=packed, mode="w") as tar:
            for each, content in {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(), **self.members}.items():
                member = tarfile.TarInfo(f"{name}/{each}")
                member.size, member.mtime, member.mode = len(content), now, 0o600
                tar.addfile(member, io.BytesIO(content))
        return file.getvalue()


def _cut(text: str) -> tuple[str, bool]:
    """Return the end of a text that is too long for a member, from the beginning of a line on, and whether it was."""
    content = text.encode("utf-8", "backslashreplace")
    if len(content) <= MEMBER:
        return text, False
    return content[-MEMBER:].partition(b"\n")[2].decode("utf-8", "replace"), True


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise Late in this process after so many seconds, as in `with`."""

    def late(_signal: int, _frame: object) -> NoReturn:
        raise Late("it took too long")

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def of_roles(name: str, *, strict: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield what the roles on this host say for a bundle under a name, by their subpackages. strict: raise what is wrong with one, which is passed over."""
    for each in applied("support"):
        try:
            module = importlib.import_module(f".{each}.support", __package__)
        # What a broken role would have added is missing; what it has secret is asked for with strict, and then nothing foreign is taken.
        except Exception:
            if strict:
                raise
            continue
        if hasattr(module, name):
            yield each, getattr(module, name)


def known_secrets(sources: Iterable[tuple[str, Callable[[], Iterable[Path | str]]]] | None = None) -> tuple[set[str], dict[str, str]]:
    """Return the values that are secret on this host, and what cannot be read of them, with why. sources: by default, what the roles say."""
    found: set[str] = set()
    unread: dict[str, str] = {}
    try:
        given = list(of_roles("secrets", strict=True) if sources is None else sources)
    except Exception as error:  # noqa: BLE001 - what a role has secret is not known then
        return found, {"what the roles say": f"cannot be read: {printable(repr(error))}"}
    for name, ask in given:
        try:
            for each in ask():
                if isinstance(each, str):
                    found |= values(each.encode())
                    continue
                try:
                    found |= values(read_file(each.resolve(), SECRET))
                except FileNotFoundError:
                    continue
                except (OSError, NousVmError) as error:
                    unread[str(each)] = f"cannot be read: {printable(str(error))}"
        except Exception as error:  # noqa: BLE001 - the same
            unread[f"what {name} says"] = f"cannot be read: {printable(repr(error))}"
    return found, unread
