# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the running server can append to its audit log, looked at from outside.

Its first call would show it, and root has no token to make one. So this looks where the server looks: at the file that is there in the server's own root, which
has to be the real one, on a file system that is not read-only, and the server's to write.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ForeignError
from ..foreign import printable, read_file


def fault(pid: int, path: Path) -> str | None:
    """Return why the server with this main process cannot append to the audit log, None if it can."""
    seen = Path(f"/proc/{pid}/root{path}")
    try:
        found, real, read_only = os.lstat(seen), os.lstat(path), os.statvfs(seen).f_flag & os.ST_RDONLY
        lines = (line.partition(":") for line in read_file(f"/proc/{pid}/status").decode("ascii", "replace").splitlines())
        status = {name: [int(each) for each in value.split()] for name, _colon, value in lines if name in ("Uid", "Gid", "Groups")}
    except (OSError, ForeignError, ValueError) as error:
        return f"the server does not see its audit log: {printable(str(error))}"
    if (found.st_dev, found.st_ino) != (real.st_dev, real.st_ino):
        return f"the server sees another file at {path} than its audit log"
    if read_only:
        return f"the server sees its audit log {path} on a read-only file system"
    uid, gids = status["Uid"][1], {status["Gid"][1], *status["Groups"]}
    bit = 0o200 if uid == found.st_uid else 0o020 if found.st_gid in gids else 0o002
    return None if found.st_mode & bit or uid == 0 else f"the server may not write to its audit log {path}"
