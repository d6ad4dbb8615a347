# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of nous-vm status on the gateway, and what to do about rows of the check."""

from __future__ import annotations

from collections.abc import Iterator

from . import allowed, check, configuration, fetched, fetched_list

JOURNAL = f"sudo journalctl --unit={configuration.UNIT}"
NEXT_STEPS = {
    "service": JOURNAL,
    "crashes": JOURNAL,
    "certificate": JOURNAL,
    "public paths": JOURNAL,
    "configuration": "ansible-playbook nous.vm.site",
    "fetched list": f"sudo journalctl --unit={fetched.UNIT}",
    "vendor's list": "sudo nous-vm gate denied --hours 24",
    "allowed for a time": "sudo nous-vm gate forget ADDRESS",
    "denied": "sudo nous-vm gate denied",
}


def summary() -> Iterator[tuple[str, str]]:
    """Yield who is allowed, and who was denied."""
    listed = [*configuration.parameters().cidrs, *fetched_list.networks(), *map(str, allowed.current())]
    yield "gateway", f"allows {', '.join(listed) or 'nobody'}"
    yield "denied", f"in the last hour: {check.denied().detail}"
