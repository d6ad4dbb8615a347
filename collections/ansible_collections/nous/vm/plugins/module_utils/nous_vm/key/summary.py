# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of nous-vm status on the signing key, and what to do about rows of its check."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .check import configuration, signing_key

ROTATE = "ansible-playbook nous.vm.rotate_key"
NEXT_STEPS = {"rotation": ROTATE, "published keys": ROTATE}


def summary() -> Iterator[tuple[str, str]]:
    """Yield what signs, and since when."""
    key, made = signing_key(configuration())
    yield "key", f"{key.alg}, kid {key.kid}, made {time.strftime('%Y-%m-%d', time.gmtime(made))}"
