# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the audit log: its hash chain over all archives, the anchors, the trail, and the signed checkpoints.

Without DIR it is this host's own. DIR is a folder that the playbook nous.vm.fetch_audit made, or one that everything was copied to; that needs no root and no
host, only Python and cryptography. --left compares with checkpoints that had left the host, one a line, for example what
journalctl --output=cat --identifier=nous-vm-checkpoint printed elsewhere: who is root here can make a whole set anew, and not those. Exit code 1 if a part is
not whole: its first fault is named by file and record.

--json prints {"whole": bool, "parts": [{"part", "whole", "notes": [sentence], "segment"?, "record"?, "sentence"?}], "message"?}.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import UsageError

if TYPE_CHECKING:
    import argparse

    from ..report import Part

EXAMPLE = "nous-vm audit verify audit/nous.example.org --jwks audit/nous.example.org/jwks.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="a folder of evidence (default: this host)")
    parser.add_argument("--name", default="nous", help="the rotation, of this host (default: nous)")
    parser.add_argument("--jwks", type=Path, metavar="FILE", help="the public keys that checkpoints are signed with; of this host its own by default")
    parser.add_argument("--left", type=Path, action="append", default=[], metavar="FILE", help="checkpoints that had left the host; again for more files")
    parser.add_argument(
        "--keep",
        type=int,
        metavar="NUMBER",
        help="archives that the host keeps: fewer are a fault once older ones are gone (default: of a folder any number is right)",
    )


def run(arguments: argparse.Namespace) -> Result:
    from dataclasses import replace

    from ...events import TRAIL
    from ..checkpoint_rows import settings
    from ..configuration import named
    from ..verify import Evidence, keys, of_folder, of_host, verify

    def find() -> Evidence:
        found = of_folder(arguments.directory) if arguments.directory else of_host(named(arguments.name), TRAIL)
        return replace(found, left=arguments.left)

    own = {} if arguments.directory else settings(named(arguments.name)) or {}
    jwks = arguments.jwks or (Path(own["jwks"]) if own else None)
    keep = arguments.keep if arguments.keep is not None else own.get("keep")
    found = find()
    if jwks is None and (found.checkpoints or found.left):
        raise UsageError("there are checkpoints: --jwks FILE says whose, for example --jwks audit/nous.example.org/jwks.json")
    return result(verify(find, keys(jwks) if jwks else None, keep))


def result(parts: list[Part]) -> Result:
    """Return what is printed of a verification."""
    broken = [each for each in parts if each.fault]
    document = {"whole": not broken, "parts": [each.document() for each in parts]}
    if broken:
        document["message"] = "; ".join(each.line() for each in broken)
    return Result(document, "\n".join(each.line() for each in parts), 1 if broken else 0)
