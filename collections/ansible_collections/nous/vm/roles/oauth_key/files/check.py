# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What oauth_key promises of a host; run by nous-vm-check."""

from __future__ import annotations

import runpy
import time
from pathlib import Path

LIBRARY = "/usr/local/lib/nous-vm/oauth_key.py"


def check(params, host):
    """Yield a row for every promise of the role."""
    library = runpy.run_path(LIBRARY)
    path = Path(params["path"])
    if not path.exists():
        yield "key", "fail", f"{path} does not exist"
        return
    status = path.stat()
    seen = f"{status.st_mode & 0o7777:04o} {path.owner()}:{path.group()}"
    yield "mode of the key", "ok" if seen == params["permissions"] else "fail", seen
    try:
        key = library["read_pem"](path.read_bytes(), params["algorithm"])
    except library["KeyProblem"] as problem:
        yield "key", "fail", f"{path} {problem}"
        return
    age = int((time.time() - status.st_mtime) // 86400)
    yield "key", "ok", f"{key.alg}, kid {key.kid}, {age} days old"
    due = age >= params["rotate_after_days"]
    yield "rotation of the key", "warn" if due else "ok", f"due after {params['rotate_after_days']} days" + (", run the playbook rotate_key" if due else "")
