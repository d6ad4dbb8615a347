# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which variables of the roles may be written down?"""

from __future__ import annotations

DOCUMENTATION = r"""
name: public
author: nous.vm authors (@rmednitzer)
version_added: 1.0.0
short_description: The variables of the roles that are not secret
description:
  - Returns of a dictionary of variables those of the collection's roles that may be written where others can read them.
  - Left out are those that P(nous.vm.secrets#filter) names, and all that have the name of a secret, a password, a token or a key, whatever their value is.
    Those that have such a name, or that a role calls secret, are not evaluated.
  - It cannot know a secret that looks like nothing of that kind.
options:
  _input:
    description: The variables, by name, for example those of a host.
    type: dict
    required: true
seealso:
  - plugin: nous.vm.secrets
    plugin_type: filter
"""

EXAMPLES = r"""
# What a backup knows of the host that it is of.
known: "{{ hostvars[inventory_hostname] | nous.vm.public }}"
"""

RETURN = r"""
_value:
  description: The variables that may be written down, by name, for example V({"nous_service_keep_releases":3}).
  type: dict
"""

import functools
import re
import typing as t
from collections.abc import Mapping

from ansible_collections.nous.vm.plugins.filter.secrets import secrets
from ansible_collections.nous.vm.plugins.plugin_utils.role import ROLES, load
from ansible_collections.nous.vm.plugins.plugin_utils.rules import Dict, List, Rule

if t.TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile("secret|password|token|_key$")
MADE_OF_THE_OTHERS = "backup_variables"


def specification(rule: Rule) -> dict[str, t.Any]:
    """Return what an argument spec says of a rule's secrets."""
    of = rule.element if isinstance(rule, List) else rule
    inner = {name: specification(each) for name, each in of.options.items()} if isinstance(of, Dict) else {}
    return {"no_log": rule.secret, "options": inner}


@functools.cache
def options() -> dict[str, t.Any]:
    """Return the variables of all roles that are not secret as a whole."""
    rules = {name: rule for role in ROLES for name, rule in load(role).options.items()}
    return {name: specification(rule) for name, rule in rules.items() if not rule.secret and not NAME.search(name) and name != MADE_OF_THE_OTHERS}


def public(variables: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the variables of the roles that are not secret."""
    given = {name: variables[name] for name in sorted(options()) if name in variables}
    secret = {re.split(r"[.\[]", name)[0] for name in secrets(given, options())}
    return {name: value for name, value in given.items() if name not in secret}


class FilterModule:
    """Ansible's way to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"public": public}
