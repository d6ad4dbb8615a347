# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set: what makes a host again. Live files are copied aside, each as a whole; archives, which never change, are saved where they are.

The manifest names each file with its place, owner, mode and SHA-256. Files that only grow are copied in an order in which a later one has come at least as
far as an earlier one tells: checkpoints, anchors, trail, log.
"""

from __future__ import annotations

import glob
import grp
import hashlib
import os
import pwd
import shutil
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from .. import inodes
from .. import machine as this
from ..atomic import read_json, write_json
from ..errors import ForeignError, NousVmError
from ..foreign import ANY, line_end, open_file, printable
from .configuration import Configuration, own

MANIFEST = "manifest.json"
FORM = 1
MOST, LARGEST = 20_000, 64 << 20  # files of a set, and bytes of one that others may write
BLOCK = 1 << 20
DATABASE = "database"


def machine() -> str:
    """Return the identity of this machine. Raises NousVmError if it has none: backups of two machines could not be told apart."""
    if found := this.machine().machine_id:
        return found
    raise NousVmError(f"{this.MACHINE_ID} has no identity of this machine; sudo systemd-machine-id-setup")


def host() -> str:
    return printable(os.uname().nodename, 64)


def opened(path: Path) -> BufferedReader:
    """Open a file, no part of whose path is a link: who owns a folder on the way cannot have root read something else. Raises OSError, ForeignError."""
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[1:-1]:
            before, folder = folder, os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(before)
        return open_file(path, ANY, folder)
    finally:
        os.close(folder)


def expanded(patterns: list[str]) -> list[Path]:
    """Return the files that match, in order. Raises NousVmError if they are too many."""
    found = [Path(each) for pattern in patterns for each in sorted(glob.glob(pattern))]
    if len(found) > MOST:
        raise NousVmError(f"more than {MOST} files would be backed up")
    return found


def described(file: IO[bytes], path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file, without its content."""
    about = os.fstat(file.fileno())
    try:
        immutable = bool(inodes.flags(path) & inodes.IMMUTABLE)
    except OSError:
        immutable = False
    return {
        "path": str(path),
        "mode": stat.S_IMODE(about.st_mode),
        "owner": name_of(pwd.getpwuid, about.st_uid),
        "group": name_of(grp.getgrgid, about.st_gid),
        "mtime": about.st_mtime,
        "immutable": immutable,
    }


def name_of(ask: Any, number: int) -> str:
    try:
        return str(ask(number)[0])
    except KeyError:
        return str(number)


def copied(source: IO[bytes], target: Path, size: int) -> tuple[int, str]:
    """Copy so many bytes at most; return how many there were and their SHA-256."""
    digest, left = hashlib.sha256(), size
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while left and (block := source.read(min(BLOCK, left))):
            digest.update(block)
            file.write(block)
            left -= len(block)
        os.fsync(file.fileno())
    return size - left, digest.hexdigest()


def complete(file: IO[bytes]) -> int:
    """Return where the last complete line of a file ends that grows meanwhile."""
    return line_end(file.fileno(), os.fstat(file.fileno()).st_size, 0)


class Staging:
    """A set that is being made in a folder of root's."""

    def __init__(self, about: Configuration, folder: Path) -> None:
        self.about, self.folder = about, folder
        self.files: dict[str, dict[str, Any]] = {}

    def make(self, database: Path | None, export: Any, release: str | None) -> dict[str, Any]:
        """Copy everything that is not an archive, write the manifest and return it. export: copies the database to a new file."""
        shutil.rmtree(self.folder, ignore_errors=True)
        own(self.folder.parent)
        self.folder.mkdir(mode=0o700)
        began = time.time()  # nothing that was written before is missing
        # Before the log is copied: what is rotated from now on is none of these, and makes the set another one.
        known = {str(path): about for path, about in archives(self.about)}
        for path in expanded(self.about.append):
            self._take(path, whole_lines=True)
        if database is not None:
            export(self.folder / DATABASE)
            with opened(database) as live, opened(self.folder / DATABASE) as copy:
                digest = hashlib.file_digest(copy, "sha256").hexdigest()
                self.files[DATABASE] = described(live, database) | {"size": os.fstat(copy.fileno()).st_size, "sha256": digest}
        for path in expanded(self.about.files):
            self._take(path)
        manifest: dict[str, Any] = {
            "form": FORM,
            "host": host(),
            "machine": machine(),
            "at": began,
            "release": release,
            "files": self.files,
            "archives": known,
        }
        manifest["directories"] = directories([each["path"] for each in self.files.values()] + list(manifest["archives"]))
        write_json(self.folder / MANIFEST, manifest)
        return manifest

    def _take(self, path: Path, *, whole_lines: bool = False) -> None:
        try:
            with opened(path) as file:
                size = complete(file) if whole_lines else os.fstat(file.fileno()).st_size
                if not whole_lines and size > LARGEST:
                    raise ForeignError(f"{path} has {size} bytes; at most {LARGEST} are backed up")
                name = f"{len(self.files):04d}-{path.name}"
                length, digest = copied(file, self.folder / name, size)
                self.files[name] = described(file, path) | {"size": length, "sha256": digest}
        except FileNotFoundError:
            return  # it went meanwhile, or is none of this host's


def archives(about: Configuration) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files that never change, and what is known of them."""
    for path in expanded(about.archives):
        try:
            with opened(path) as file:
                yield path, described(file, path) | {"size": os.fstat(file.fileno()).st_size}
        except FileNotFoundError:
            continue


def directories(paths: list[str]) -> dict[str, dict[str, Any]]:
    """Return mode and owner of the folders that these files are in."""
    found = {}
    for folder in sorted({str(parent) for path in paths for parent in Path(path).parents if parent != Path("/")}):
        about = os.lstat(folder)
        owners = {"owner": name_of(pwd.getpwuid, about.st_uid), "group": name_of(grp.getgrgid, about.st_gid)}
        found[folder] = {"mode": stat.S_IMODE(about.st_mode), **owners}
    return found


def still(manifest: dict[str, Any], about: Configuration) -> bool:
    """Tell whether the archives are those that the set has: a rotation meanwhile would leave records in it twice, or none."""
    now = {str(path): each for path, each in archives(about)}
    return bool(now == manifest["archives"])


def below(folder: Path, path: str) -> Path:
    """Return where a file of a set is in a folder. Raises NousVmError for a path that leads out of it."""
    if not path.startswith("/") or ".." in Path(path).parts:
        raise NousVmError(f"the set has the path {printable(path)}")
    return folder / path.lstrip("/")


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a set that was laid out in a folder; raise NousVmError if there is none of this form."""
    manifest = read_json(folder / MANIFEST)
    if manifest.get("form") != FORM:
        raise NousVmError(f"the set has no {MANIFEST} of the form {FORM}")
    return manifest


def lay_out(folder: Path, staged: Path) -> dict[str, Any]:
    """Move what was copied aside to where it belongs below a folder, and return the manifest."""
    aside = below(folder, str(staged))
    if not (aside / MANIFEST).exists():
        raise NousVmError(f"the snapshot has no {staged / MANIFEST}")
    (aside / MANIFEST).rename(folder / MANIFEST)
    manifest = manifest_of(folder)
    for name, each in manifest["files"].items():
        if Path(name).name != name:
            raise NousVmError(f"the set has the name {printable(name)}")
        target = below(folder, each["path"])
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (aside / name).exists():
            (aside / name).rename(target)
    return manifest
