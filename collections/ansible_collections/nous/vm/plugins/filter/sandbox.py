# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How is this unit sandboxed?"""

from __future__ import annotations

import typing as t

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.sandbox import directives

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def sandbox(changes: Mapping[str, t.Any]) -> str:
    """Return the sandbox directives of a unit, a line each."""
    return "\n".join(directives(changes))


class FilterModule:
    """Ansible's way to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"sandbox": sandbox}
