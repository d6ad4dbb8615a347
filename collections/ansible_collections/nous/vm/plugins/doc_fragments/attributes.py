# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the attributes of the modules mean. A module says in its own documentation how far it supports them."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments for C(extends_documentation_fragment)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
  idempotent:
    support: full
    description: When run twice in a row outside check mode, with the same arguments, the second indicates no change.
  platform:
    support: full
    platforms: linux
    description: Target OS/families that can be operated against.
"""

    # For modules that only look.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: This module does not modify state.
  diff_mode:
    support: none
    description: This module does not modify state.
  idempotent:
    support: full
    description: This module does not modify state.
  platform:
    support: full
    platforms: linux
    description: Target OS/families that can be operated against.
"""

    # For modules with an action plugin of the same name.
    ACTION = r"""
options: {}
attributes:
  action:
    support: full
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
"""
