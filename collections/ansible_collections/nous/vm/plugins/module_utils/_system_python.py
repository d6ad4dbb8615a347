# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's own interpreter, for modules that need a library which another interpreter, as one of a virtual environment, lacks.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

INTERPRETER = "/usr/bin/python3"


def respawn_for(library: str) -> None:
    """Run this module again with the distribution's interpreter if that has a library; return if it has not, or if this is it already."""
    if not has_respawned() and probe_interpreters_for_module([INTERPRETER], library):
        respawn_module(INTERPRETER)
