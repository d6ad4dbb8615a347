# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of these variables are secret?"""

from __future__ import annotations

DOCUMENTATION = r"""
name: secrets
author: nous.vm authors (@rmednitzer)
version_added: 1.0.0
short_description: Which variables are secret
description:
  - Names the values in a dictionary of variables, at any depth, that must not be written where others can read them.
  - Those are options that an argument spec marks with C(no_log), values that a vault keeps, private keys in PEM, URLs with a password or token, and
    whatever bears the name of a password, token or secret. Empty values are none.
  - It cannot know a secret that looks like nothing of that kind.
options:
  _input:
    description: The variables, by name.
    type: dict
    required: true
  options:
    description: The options of argument specs, by name, as they stand under C(options) there.
    type: dict
    default: {}
"""

EXAMPLES = r"""
# ['python_runtime_index_url', 'nous_service_secrets.NOUS_DB_URL']
secret: >-
  {{ {'nous_service_secrets': {'NOUS_DB_URL': 'sqlite:////x'}, 'python_runtime_index_url': 'https://token@mirror.example.org/simple/'}
     | nous.vm.secrets(options=specs) }}
"""

RETURN = r"""
_value:
  description: Full names of the values that are secret, for example V(nous_service_secrets.NOUS_DB_URL).
  type: list
  elements: str
"""

import re
import typing as t
from collections.abc import Iterator, Mapping

from ansible.parsing.vault import VaultHelper

if t.TYPE_CHECKING:
    from collections.abc import Callable

# A private key, and a URL with a user who is more than the name of an account.
SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bhttps?://[^\s/?#]+@|\b[a-z][a-z0-9+.-]*://[^\s/?#@]*:[^\s/?#@]+@")
# What cloud-init calls passwords and private keys.
NAME = re.compile(r"(?:^|[._])(?:[a-z]*passw(?:or)?d|secret|token|[a-z0-9]*_private)$")


def leaves(name: str, value: object, option: Mapping[str, t.Any]) -> Iterator[tuple[str, bool]]:
    """Yield every value that is not empty, by its full name, and whether it is secret."""
    if VaultHelper.get_ciphertext(value, with_tags=False) is not None:
        yield name, True
    elif value in (None, "", {}, []):
        return
    elif option.get("no_log") or NAME.search(name):
        yield name, True
    elif isinstance(value, Mapping):
        inner = option.get("options", {})
        for key in value:
            yield from leaves(f"{name}.{key}", value[key], inner.get(key, {}))
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(f"{name}[{number}]", each, {"options": option.get("options", {})})
    else:
        yield name, isinstance(value, str) and SECRET.search(value) is not None


def secrets(variables: Mapping[str, object], options: Mapping[str, t.Any] | None = None) -> list[str]:
    """Return the full names of the variables that are secret."""
    known = options or {}
    return [name for key in sorted(variables) for name, secret in leaves(key, variables[key], known.get(key, {})) if secret]


class FilterModule:
    """Ansible's way to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"secrets": secrets}
