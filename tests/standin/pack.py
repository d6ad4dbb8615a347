#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a release of the stand-in: a source archive, or a commit with a tag in a bare git repository.

The same version and fault give the same bytes, the same commit.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
RELEASE = "src/nous/release.py"
FAULTS = ["none", "crash", "hang", "error", "toolless"]


def tree(version: str, fault: str) -> dict[str, bytes]:
    """Path to content of everything that a release is made of."""
    paths = [ROOT / "pyproject.toml", ROOT / "uv.lock", *ROOT.glob("profiles/*.yaml"), *ROOT.glob("src/nous/*.py")]
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in sorted(paths)}
    files[RELEASE] = f'VERSION = "{version}"\nFAULT = "{fault}"\n'.encode()
    return files


def archive(files: dict[str, bytes], top: str, out: Path) -> None:
    with (
        out.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))


def commit(files: dict[str, bytes], tag: str, repository: Path) -> None:
    who = {"NAME": "nous.vm tests", "EMAIL": "tests@nous.invalid", "DATE": "2026-01-01T00:00:00+00:00"}
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    }
    with tempfile.TemporaryDirectory() as work:
        for name, content in files.items():
            path = Path(work, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        git = ["git", f"--git-dir={repository}"]
        at_work = [*git, f"--work-tree={work}"]
        for command in (
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)],
            [*at_work, "add", "--all", work],
            [*at_work, "commit", "--quiet", f"--message=nous {tag}"],
            [*git, "tag", tag],
        ):
            subprocess.run(command, check=True, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--fault", choices=FAULTS, default="none", help="break it over HTTP: at start, never ready, always 500; or over stdio: no tools")
    parser.add_argument("--no-lock", action="store_true", help="leave uv.lock out")
    parser.add_argument("--git", action="store_true", help="OUT is a bare git repository, made or added to")
    parser.add_argument("out", metavar="OUT", type=Path, help="an archive (.tar.gz), or a bare git repository")
    options = parser.parse_args()
    files = tree(options.version, options.fault)
    if options.no_lock:
        del files["uv.lock"]
    if options.git:
        commit(files, f"v{options.version}", options.out.resolve())
    else:
        archive(files, f"nous-{options.version}", options.out)


if __name__ == "__main__":
    main()
