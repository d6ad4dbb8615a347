# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How is this unit sandboxed?"""

from __future__ import annotations

DOCUMENTATION = r"""
name: sandbox
author: nous.vm authors (@rmednitzer)
version_added: 1.0.0
short_description: The sandbox directives of a unit
description:
  - Renders the sandbox directives that every unit of nous.vm has, with the changes that one unit asks for, as lines for its C([Service]) section.
  - V(true) and V(false) become V(yes) and V(no). A list is a directive that stands several times, and null leaves it out.
options:
  _input:
    description: What this unit has other than the others, by directive.
    type: dict
    required: true
"""

EXAMPLES = r"""
# Everything is closed but the network.
directives: "{{ {'PrivateNetwork': false, 'RestrictAddressFamilies': 'AF_INET AF_INET6'} | nous.vm.sandbox }}"
"""

RETURN = r"""
_value:
  description: The directives, a line each.
  type: str
"""

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
