# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What oauth_key promises of a host; run by nous-vm-check."""

from __future__ import annotations

import runpy
import time
from pathlib import Path

LIBRARY = "/usr/local/lib/nous-vm/oauth_key_jwk.py"  # the part of the module that touches no file
ROTATE = "run the playbook rotate_key"


def check(params, host):
    """Yield a row for every promise of the role."""
    library = runpy.run_path(LIBRARY)
    for name, asked in params["permissions"].items():
        path = Path(name)
        yield f"mode of {path.name}", *host.permissions(path, asked)

    path = Path(params["path"])
    try:
        key = library["read_pem"](path.read_bytes(), params["algorithm"])
    except (OSError, library["KeyProblem"]) as problem:
        yield "signing key", "fail", f"{path} {getattr(problem, 'strerror', problem)}"
        return
    age = int((time.time() - path.stat().st_mtime) // 86400)
    yield "signing key", "ok", f"{key.alg}, kid {key.kid}, {age} days old"
    due = age >= params["rotate_after_days"]
    yield "rotation", "warn" if due else "ok", f"due at {params['rotate_after_days']} days" + (f": {ROTATE}" if due else "")

    path = Path(params["jwks_path"])
    try:
        published = library["parse_jwks"](path.read_bytes())
    except (OSError, library["KeyProblem"]) as problem:
        yield "published keys", "fail", f"{path} {getattr(problem, 'strerror', problem)}"
        return
    old = [one for one in published if one["kid"] != key.kid]
    if key.jwk in published:
        yield "published keys", "ok", f"the one that signs and {len(old)} others"
    else:
        yield "published keys", "fail", f"the one that signs is not among the {len(published)}"
    unfinished = Path(f"{params['path']}.next").exists() or any("exp" not in one for one in old)
    yield "rotation finished", "warn" if unfinished else "ok", f"no: {ROTATE}" if unfinished else "yes"
