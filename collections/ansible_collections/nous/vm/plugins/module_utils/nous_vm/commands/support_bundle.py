# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write one archive about this host for a person who helps, without secrets.

Check and status, versions, releases, history, units with their journal, modes and owners of files, sockets, disks. Its manifest.json says what is in it, what
was left out, and why. It changes nothing on the host. Root alone can read it; systemd removes it after 30 days if it is left in /var/tmp.

--json prints {"path", "bytes", "members": [name], "left_out": {what: why}, "redacted": how many values were taken out}.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import Result, only_root
from ..errors import UsageError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm support-bundle --output /root"
FOLDER = Path("/var/tmp")  # noqa: S108 - as sos report does: it outlasts a boot and is cleaned up, and the file is made under a name that is not there


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="PATH", help=f"a folder that is there, or a file that is not (default: {FOLDER})")


def run(arguments: argparse.Namespace) -> Result:
    only_root("may see what is in it")
    from ..atomic import write
    from ..bundle import ALL, Bundle, known_secrets
    from ..bundle_parts import parts
    from ..redaction import Redactor

    began = time.time()
    host = os.uname().nodename
    name = f"nous-vm-support-{host.partition('.')[0]}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began))}"
    path = target(arguments.output, f"{name}.tar.gz")
    found, unread = known_secrets()
    bundle = Bundle(Redactor(found), unread, time.monotonic() + ALL)
    for part in parts():
        bundle.add(part)
    content = bundle.archive(name, host, began)
    write(path, content)
    document = {"path": str(path), "bytes": len(content), "members": sorted(bundle.members), "left_out": bundle.left_out, "redacted": bundle.redactor.count}
    lines = [f"{path}: {len(bundle.members)} members, {len(content) >> 10} KiB; {bundle.redactor.count} secrets were taken out"]
    lines += [f"left out: {name}: {why}" for name, why in bundle.failed.items()]
    return Result(document, "\n".join(lines))


def target(given: Path, name: str) -> Path:
    """Return the file to write. Raises UsageError."""
    path = given.absolute() / name if given.is_dir() else given.absolute()
    if os.path.lexists(path):
        raise UsageError(f"--output is {str(given)!r}, which is there; name a folder, or a file that is not, for example /root/bundle.tar.gz")
    if not path.parent.is_dir():
        raise UsageError(f"--output is {str(given)!r}, whose folder is not there; name a folder that is, for example /root")
    return path
