# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a checkpoint is: a token (JWS, RFC 7515) in which a host signs how far its logs and its trail had come, and what they held.

Bytes are counted along the log, over rotations: the archives from the oldest on, then the log itself. A rotation moves the border between two files and no
byte, so that what was signed stays comparable. A segment is known by the SHA-256 of its first line, not by a name, which changes with every rotation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import NousVmError

KIND = "nous-vm-checkpoint"
FIRST = "0" * 64  # what the first checkpoint names as the one before
MEMBERS = {"time", "host", "sequence", "logs", "trail", "previous"}
OPTIONAL = {"machine", "next_key"}


class Piece(NamedTuple):
    """What is signed of a log.

    segment: SHA-256 of the first line of the file that was the log then. size: bytes of that file, up to the end of its last complete record. covers: bytes
    up to there that are new since the checkpoint before. sha256: of these. head: the hash that the last record names as its own, or that of its line.
    """

    segment: str
    size: int
    covers: int
    sha256: str
    head: str


class Mark(NamedTuple):
    """What is signed of the trail: its bytes up to the end of a line, and the SHA-256 of that line."""

    size: int
    head: str


class Checkpoint(NamedTuple):
    """What a token says. machine: its names, as far as they are known. next_key: the key that signs from the next one on, if that is another."""

    time: str
    host: str
    sequence: int
    logs: dict[str, Piece]
    trail: Mark | None
    previous: str
    machine: dict[str, str] | None = None
    next_key: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """How it is called in a sentence."""
        return f"checkpoint {self.sequence} of {self.time}"

    def claims(self) -> dict[str, Any]:
        """Return it as the payload of a token."""
        made = self._asdict() | {"logs": {name: piece._asdict() for name, piece in self.logs.items()}, "trail": self.trail._asdict() if self.trail else None}
        return {name: value for name, value in made.items() if name not in OPTIONAL or value}


def checkpoint(claims: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint that a payload is. Raises NousVmError, its sentence without a subject."""
    try:
        if set(claims) - OPTIONAL != MEMBERS:
            raise ValueError("other members than a checkpoint has")
        given = claims["trail"]
        made = Checkpoint(
            time=_text(claims["time"]),
            host=_text(claims["host"]),
            sequence=_count(claims["sequence"]),
            logs={_text(name): _piece(value) for name, value in claims["logs"].items()},
            trail=None if given is None else Mark(_count(given["size"]), _text(given["head"])),
            previous=_text(claims["previous"]),
            machine={_text(name): _text(value) for name, value in claims["machine"].items()} if "machine" in claims else None,
            next_key=claims.get("next_key"),
        )
        if made.next_key is not None and not isinstance(made.next_key, dict):
            raise TypeError("next_key is no object")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NousVmError(f"does not say what a checkpoint says: {type(error).__name__}: {str(error)[:100]}") from None
    return made


def _piece(value: dict[str, Any]) -> Piece:
    if set(value) != set(Piece._fields):
        raise ValueError("other members than a log has")
    return Piece(_text(value["segment"]), _count(value["size"]), _count(value["covers"]), _text(value["sha256"]), _text(value["head"]))


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("a number of bytes is none")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 256 or not value.isprintable():
        raise TypeError("a text is none")
    return value
