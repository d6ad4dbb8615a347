# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the evidence of an audit log: the log with its archives, the anchors, the trail, and the checkpoints that tie them together.

It needs no host, no root and no systemd: a folder, the public keys, and cryptography. What it reads it reads once and from the beginning, with bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import NousVmError, UsageError
from ..foreign import printable, read_file
from ..key import jwk
from ..key.jws import public_keys
from .chain import sha256
from .configuration import Configuration
from .ledger import Ledger
from .lines import archives, first_line, opened
from .report import Part
from .trail import TrailWalk
from .walk import Anchors, Walk

LOGS = "logs"  # the folder of a copy in which each log has a folder of its segments
CHECKPOINTS, TRAIL, JWKS = "checkpoints.jws", "trail.jsonl", "jwks.json"
ATTEMPTS = 3  # at a log that is rotated meanwhile


def checkpoints_of(name: str) -> str:
    """Return the name of a rotation's file of checkpoints, beside the trail."""
    return f"checkpoints-{name}.jws"


@dataclass(frozen=True)
class Evidence:
    """Where everything is.

    logs: the files of each by its name, the oldest first. left: files with checkpoints that had left the host. fetched: whether nous.vm.fetch_audit made it.
    """

    logs: dict[str, list[Path]]
    anchors: list[Path]
    trail: Path | None
    checkpoints: Path | None
    left: list[Path] = field(default_factory=list)
    fetched: bool = False


def of_host(config: Configuration, trail: Path) -> Evidence:
    """Return the evidence of a rotation of this host."""
    logs = {name: _files(config.directory, name) for name in config.files}
    anchors = [config.directory / name for name in config.anchors]
    return Evidence(logs, _there(anchors), _one(trail), _one(trail.with_name(checkpoints_of(config.name))))


def of_folder(folder: Path) -> Evidence:
    """Return the evidence in a folder: one that nous.vm.fetch_audit made, or a copy of a host's. Raises UsageError if no log is in it."""
    fetched = folder / LOGS
    if fetched.is_dir():
        logs = {each.name: sorted(each.glob("*.jsonl")) for each in sorted(fetched.iterdir()) if each.is_dir()}
        anchors = sorted((folder / "anchors").glob("*.jsonl"))
    else:
        found = [each for each in sorted(folder.glob("*.jsonl")) if each.name != TRAIL]
        anchors = [each for each in found if "anchors" in each.name]
        logs = {each.name: _files(folder, each.name) for each in found if each not in anchors}
    if not logs:
        raise UsageError(f"{folder} has no log: neither a folder {LOGS}, as nous.vm.fetch_audit makes it, nor a file such as audit.jsonl")
    return Evidence(logs, anchors, _one(folder / TRAIL), _one(folder / CHECKPOINTS), fetched=fetched.is_dir())


def _files(directory: Path, name: str) -> list[Path]:
    return [*archives(directory, name), *_there([directory / name])]


def _there(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]


def _one(path: Path) -> Path | None:
    return path if path.exists() else None


def keys(jwks: Path) -> dict[str, jwk.Jwk]:
    """Return the keys of a JWK set that checkpoints may be signed with. Raises NousVmError."""
    if jwk.CRYPTOGRAPHY_ERROR:
        raise NousVmError("signatures cannot be verified without cryptography (the package python3-cryptography)")
    try:
        found = public_keys(read_file(jwks))
    except jwk.KeyProblem as problem:
        raise UsageError(f"{printable(str(jwks))} {printable(str(problem))}") from None
    if not found:
        raise UsageError(f"{printable(str(jwks))} holds no key")
    return found


def verify(find: Callable[[], Evidence], trusted: dict[str, jwk.Jwk] | None, keep: int | None = None) -> list[Part]:
    """Return the parts of the evidence with what is wrong with them.

    find: where everything is; asked again if a log was rotated meanwhile. trusted: keys of checkpoints by their names; None leaves the checkpoints out.
    keep: how many archives there have to be once older ones are gone.
    """
    for _attempt in range(ATTEMPTS):
        evidence = find()
        before = _beginnings(evidence)
        parts = _Verification(evidence).run(trusted, keep)
        if _beginnings(evidence) == before:
            return parts
    raise NousVmError("the log was rotated again and again while it was read")


def _beginnings(evidence: Evidence) -> list[str]:
    """Return what each log begins with, which a rotation changes."""
    found = []
    for path in [paths[-1] for paths in evidence.logs.values() if paths]:
        with opened(path) as file:
            found.append(sha256(first_line(file)))
    return found


class _Verification:
    """One reading of everything, led by the checkpoints."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.anchors = [Anchors(path) for path in evidence.anchors]
        self.walks = {name: Walk(name, paths, self._seen, fetched=evidence.fetched) for name, paths in evidence.logs.items()}
        self.trail = TrailWalk(evidence.trail)

    def run(self, trusted: dict[str, jwk.Jwk] | None, keep: int | None) -> list[Part]:
        signed = [] if trusted is None else [self._compare(trusted)]
        for walk in self.walks.values():
            walk.finish(keep)
        self.trail.finish()
        broken = any(walk.part.fault for walk in self.walks.values())
        expired = any(walk.older and walk.compared for walk in self.walks.values())
        for anchor in self.anchors:
            if broken:
                anchor.part.note("not compared with a log that is broken")
            else:
                anchor.finish(expired)
        return [*(walk.part for walk in self.walks.values()), *(anchor.part for anchor in self.anchors), self.trail.part, *signed]

    def _compare(self, trusted: dict[str, jwk.Jwk]) -> Part:
        """Compare what there is with each checkpoint; return the part that they are themselves."""
        ledger = Ledger(self.evidence.checkpoints, self.evidence.left, trusted)
        for each in ledger.checkpoints():
            for name in each.logs.keys() & self.walks.keys():
                self.walks[name].meet(each.logs[name], each.label)
            if each.trail:
                self.trail.meet(each.trail, each.label)
        if not ledger.count:
            ledger.part.fail(CHECKPOINTS, 0, "there are no checkpoints, and keys to verify them with")
        return ledger.part

    def _seen(self, head: str) -> None:
        for anchor in self.anchors:
            anchor.seen(head)
