# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what a release is made of, and whether it is still what was built.

--advisories FILE compares it with a dump of OSV that you bring (all.zip of the ecosystem PyPI): the exit code is 1 if something is known.
--json prints the release's record with {"damage", "installed", "advisories"}: why it is no more what was built, or null, the packages, and what is known of
them, or null if no FILE is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...build import advisories
from ...build.release import damage, record
from ...build.sbom import installed, normalized
from ...cli import Result
from ...errors import NousVmError, UsageError
from ...foreign import printable
from ..service import service

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm releases show current --advisories /root/all.zip"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", default="current", help="a release, by default current")
    parser.add_argument("--advisories", metavar="FILE", type=Path, help="a dump of OSV")


def run(arguments: argparse.Namespace) -> Result:
    releases = service().releases
    name = releases.named(arguments.release)
    folder = releases.folder / name
    about = record(folder) if name in releases.built() else {}
    if not about:
        raise UsageError(f"{printable(name)} is not built; built: {', '.join(releases.built()) or 'none'}")
    there = {normalized(package): version for package, version in installed(folder / "venv")}
    known = advisories.affected(advisories.advisories(arguments.advisories), there) if arguments.advisories else None
    document = about | {"damage": damage(folder), "installed": there, "advisories": known}
    code = NousVmError.exit_code if known or document["damage"] else 0
    text = "\n".join(lines(document))
    return Result(document | ({"message": text.splitlines()[-1]} if code else {}), text, code)


def lines(about: dict[str, Any]) -> list[str]:
    """Return what a person reads."""
    signer = f", signed by {about['signer']}" if about.get("signer") else ""
    found = [f"{about['release']}, built at {about.get('built_at')} for Python {about.get('python')}"]
    found += [f"made of {about.get('source')}, commit {about.get('commit') or 'none'}{signer}"]
    found += [f"lock: {about.get('lock')}; {len(about['installed'])} packages, {len(about.get('build_packages', []))} to build it; sbom.json is beside it"]
    found += [f"tree: {about.get('tree', {}).get('sha256')}; {about['damage'] or 'as it was built'}"]
    if about["advisories"] is not None:
        found += [" ".join(each[key] for key in ("package", "version", "advisory", "summary")) for each in about["advisories"]]
        found += [f"{len(about['advisories'])} advisories are known"]
    return [printable(line) for line in found]
