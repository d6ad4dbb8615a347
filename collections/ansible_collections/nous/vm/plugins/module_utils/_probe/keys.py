# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of signing keys: whether a key set is as requested, by the look that nous.vm.oauth_key begins with."""

from __future__ import annotations

import typing as t

from .._oauth_key import KeySpec, ensure_key
from ..nous_vm.key.jwk import KeyProblem


def keys(asked: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return, of those key sets that are proven and as requested, what was asked and what the module would return; nothing of others."""
    found = []
    for options in asked:
        try:
            outcome = ensure_key(KeySpec(**{**options, **{name: int(options[name], 8) for name in ("mode", "jwks_mode")}}), check_mode=True)
        except KeyProblem:
            continue
        if outcome.key and not outcome.actions and not outcome.warnings:
            found.append({"asked": options, "result": outcome.result()})
    return found
