#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build what is released, of the commit that is checked out: dist.py [--to DIR] [--repository URL] [--key FINGERPRINT]

nous-vm-VERSION.tar.gz       the collection, with its changelog built
nous-vm-VERSION.cdx.json     its bill of materials, CycloneDX
nous-vm-VERSION.MANIFEST.json  what is in the archive, by SHA-256; with --key, .asc beside it is what ansible-galaxy verifies
SHA256SUMS                   of all of these; with --key, SHA256SUMS.asc is its signature

The same commit gives the same bytes, but for signatures: with this repository's uv.lock, ansible-core and antsibull-changelog are the same too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import archive
import sbom

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = "collections/ansible_collections/nous/vm"


def run(*argv: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Return what a program of this environment prints; end with what it says if it fails."""
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}  # Ansible takes no other encoding
    done = subprocess.run([str(each) for each in argv], cwd=cwd, env=os.environ | own | environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"dist: {' '.join(map(str, argv[:3]))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def project() -> dict[str, Any]:
    """Return what pyproject.toml says: the one place of version and repository."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def addresses(repository: str) -> dict[str, str]:
    """Return what galaxy.yml says of a repository, as the usual forges have it."""
    return {"repository": repository, "documentation": f"{repository}#readme", "homepage": repository, "issues": f"{repository}/issues"}


def addressed(galaxy: str, repository: str) -> str:
    """Return a galaxy.yml with the addresses of a repository."""
    for name, address in addresses(repository).items():
        galaxy = re.sub(f"^{name}: .*$", f"{name}: {address}", galaxy, flags=re.MULTILINE)
    return galaxy


def stage(folder: Path, repository: str, when: datetime) -> Path:
    """Return the collection of the commit, with its changelog, as it is packed; its fragments are in the changelog."""
    packed = folder / "tree.tar"
    run("git", "archive", "--output", packed, "HEAD", COLLECTION)
    run("tar", "--extract", "--file", packed, cwd=folder)
    collection = folder / COLLECTION
    galaxy = collection / "galaxy.yml"
    galaxy.write_text(addressed(galaxy.read_text(encoding="utf-8"), repository), encoding="utf-8")
    if any((collection / "changelogs/fragments").glob("*.y*ml")):
        # Its own list of plugins, or it asks ansible-doc for those of every collection.
        run("antsibull-changelog", "release", "--version", project()["version"], "--date", f"{when:%Y-%m-%d}", "--reload-plugins", cwd=collection)
    (collection / "changelogs/.plugin-cache.yaml").unlink(missing_ok=True)
    return collection


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sign(path: Path, key: str) -> Path:
    """Write a detached signature beside a file; return its path."""
    signature = path.with_name(f"{path.name}.asc")
    signature.unlink(missing_ok=True)
    run("gpg", "--batch", "--yes", "--local-user", key, "--armor", "--detach-sign", "--output", signature, path)
    return signature


def dist(to: Path, repository: str, key: str) -> list[Path]:
    """Write all files of a release; return their paths."""
    epoch = int(run("git", "show", "--no-patch", "--format=%ct", "HEAD"))
    when = datetime.fromtimestamp(epoch, UTC)
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        collection = stage(Path(temporary), repository, when)
        # A configuration without anything, or an ansible.cfg of the operator's has a word in it.
        (empty := Path(temporary, "ansible.cfg")).touch()
        run("ansible-galaxy", "collection", "build", collection, "--output-path", temporary, cwd=Path(temporary), ANSIBLE_CONFIG=str(empty))
        (built,) = Path(temporary).glob("*.tar.gz")
        target = to / built.name
        manifest = archive.rewrite(built, target, epoch)
        bill = sbom.sbom(collection, json.loads(manifest)["collection_info"], sha256(target), when)
    stem = target.name.removesuffix(".tar.gz")
    listing, materials, sums = to / f"{stem}.MANIFEST.json", to / f"{stem}.cdx.json", to / "SHA256SUMS"
    listing.write_bytes(manifest)
    materials.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    files = [target, materials, listing]
    files += [sign(listing, key)] if key else []
    sums.write_text("".join(f"{sha256(each)}  {each.name}\n" for each in files), encoding="utf-8")
    return [*files, sums, *([sign(sums, key)] if key else [])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="dist.py", description="Build what is released, of the commit that is checked out.")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="folder to write to, by default dist")
    parser.add_argument("--repository", default=project()["urls"]["Repository"], help="where it is released: https://git.example.org/ops/nous.vm")
    parser.add_argument("--key", default="", help="fingerprint of the OpenPGP key to sign with, in gpg's keyring")
    given = parser.parse_args()
    if not re.fullmatch(r"https://[^\s/]+(/[^\s/#?]+)+", given.repository):
        sys.exit(f'dist: --repository is "{given.repository}"; allowed is an https URL without a final slash, for example https://git.example.org/ops/nous.vm.')
    if changed := run("git", "status", "--porcelain").splitlines():
        sys.exit(f"dist: {len(changed)} files are not as they were committed ({changed[0][3:]}, ...); a release is of a commit, so commit or stash them.")
    print("\n".join(str(each) for each in dist(given.to.resolve(), given.repository, given.key)))


if __name__ == "__main__":
    main()
