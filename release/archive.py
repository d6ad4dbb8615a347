# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of ansible-galaxy, written so that the same commit gives the same bytes: sorted, of one time, owned by nobody."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def pretty(document: Any) -> bytes:
    """Return JSON as ansible-galaxy writes it."""
    return json.dumps(document, indent=True).encode()


def sorted_manifests(manifest: bytes, files: bytes) -> tuple[bytes, bytes]:
    """Return MANIFEST.json and FILES.json, the latter sorted: ansible-galaxy lists files as the file system does."""
    listed = json.loads(files)
    listed["files"].sort(key=lambda each: (each["name"] != ".", each["name"]))
    written = pretty(listed)
    found = json.loads(manifest)
    found["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(written).hexdigest()
    return pretty(found), written


def rewrite(source: Path, target: Path, epoch: int) -> bytes:
    """Write the archive anew; return its MANIFEST.json, which is what a signature is of."""
    with tarfile.open(source) as built:
        members = {each.name: each for each in built.getmembers()}
        content = {name: file.read() for name, each in members.items() if (file := built.extractfile(each) if each.isfile() else None)}
    content["MANIFEST.json"], content["FILES.json"] = sorted_manifests(content["MANIFEST.json"], content["FILES.json"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as written:
        # The manifests come first, as ansible-galaxy has them, which reads them first.
        for name in sorted(members, key=lambda each: (each not in {"MANIFEST.json", "FILES.json"}, each)):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime, member.linkname = members[name].type, members[name].mode, epoch, members[name].linkname
            member.size = len(content.get(name, b""))
            written.addfile(member, io.BytesIO(content[name]) if name in content else None)
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))
    return content["MANIFEST.json"]
