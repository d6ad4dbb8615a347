# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m nous_vm COMMAND, where the package is and the command is not installed: to verify a copy of an audit log, say."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
