"""The order in which a run touches files, and the modes that it gives, as the kernel sees them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from keysets import CASES, KeySet, traced

CREATE, BEGIN = CASES[0], CASES[3]


def shown(keys: KeySet, number: int) -> list[str]:
    """Return the calls of a case that change something, with names in place of paths, descriptors and random digits."""
    case = CASES[number]
    case.prepare(keys)
    status, lines = traced(
        keys,
        case,
        "--decode-fds=path",
        "--string-limit=0",
        "--trace=openat,mkdirat,fchown,fchmod,write,fsync,linkat,unlinkat,renameat,renameat2,utimensat",
    )
    assert os.waitstatus_to_exitcode(status) == 0
    found = []
    for line in lines:
        name, _paren, arguments = line.partition("(")
        if name == "openat" and "O_CREAT" not in line:
            continue
        paths = re.findall(r'<([^>]*)>|"([^"]*)"', arguments.replace('""...', ""))
        names = [re.sub(r"\.[0-9a-f]{16}\.tmp", ".tmp", (one or other).split("/")[-1]) for one, other in paths]
        if name == "openat":
            names = names[-1:]
        mode = re.search(r", (0\d+)\)", arguments)
        found.append(" ".join([name.removesuffix("2"), *names, *([mode[1]] if mode else [])]))
    return found


def written(directory: str, file: str, mode: str) -> list[str]:
    """Return how a file is written aside: with its owner and mode before its content, which is on the disk at the end."""
    return [
        f"openat .{file}.tmp 0600",
        f"fchown .{file}.tmp",
        f"fchmod .{file}.tmp {mode}",
        f"write .{file}.tmp",
        f"fsync .{file}.tmp",
    ]


def linked(directory: str, file: str) -> list[str]:
    """Return how it gets a name that nothing had, which is on the disk at the end."""
    return [
        f"linkat {directory} .{file}.tmp {directory} {file}",
        f"unlinkat {directory} .{file}.tmp",
        f"fsync {directory}",
    ]


def renamed(directory: str, file: str) -> list[str]:
    """Return how it takes a name, which is on the disk at the end."""
    return [
        f"renameat {directory} .{file}.tmp {directory} {file}",
        f"fsync {directory}",
    ]


def made(parent: str, directory: str, mode: str) -> list[str]:
    """Return how a directory is made: nobody enters it before it has its owner and mode."""
    return [
        f"mkdirat {parent} {directory} 0400",
        f"fchown {directory}",
        f"fchmod {directory} {mode}",
        f"fsync {directory}",
        f"fsync {parent}",
    ]


def test_create(fresh: Callable[[], KeySet]) -> None:
    keys = fresh()
    assert shown(keys, CASES.index(CREATE)) == [
        *made(keys.root.name, "etc", "0755"),
        *made("etc", "keys", "0700"),
        *written("keys", "signing.pem", "0600"),
        *linked("keys", "signing.pem"),
        *written("etc", "jwks.json", "0640"),
        *renamed("etc", "jwks.json"),
    ]


def test_rotation(fresh: Callable[[], KeySet]) -> None:
    """The next key is on the disk before it is published, and published, on the disk, before it signs."""
    assert shown(fresh(), CASES.index(BEGIN)) == [
        *written("keys", "signing.pem.next", "0600"),
        *linked("keys", "signing.pem.next"),
        *written("etc", "jwks.json", "0640"),
        *renamed("etc", "jwks.json"),
        "fsync etc",
        "utimensat signing.pem.next",
        "fsync signing.pem.next",
        "renameat keys signing.pem.next keys signing.pem",
        "fsync keys",
    ]
