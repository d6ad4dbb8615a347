# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade of Caddy's package that replaced the Caddyfile by its own (--force-confnew): what was verified last is put back.

A file that a person wrote, and one beside other sites, is theirs, and stays.
"""

from __future__ import annotations

from .. import events
from ..errors import NousVmError
from . import apply, configuration


def is_replaced() -> bool:
    """Tell whether the package's own file stands where what was verified last belongs."""
    path = configuration.config()
    return path == configuration.CADDYFILE and configuration.owner(path) == "package" and str(path) in configuration.known_good()


def repair() -> str:
    """Put back what was verified last, if the package's own file stands in its place; return what came of it. Raises NousVmError."""
    if not is_replaced():
        return "there is nothing to repair"
    replaced = configuration.on_disk()
    apply.put_back(configuration.known_good(), replaced)
    if fault := apply.serve(replaced):
        events.record("gateway repaired", "failed", why=fault)
        raise NousVmError(f"{configuration.CADDYFILE} was the package's; what was verified last was put back, but: {fault}")
    events.record("gateway repaired", why=f"{configuration.CADDYFILE} was the package's")
    return f"{configuration.CADDYFILE} was the package's; what was verified last serves again"
