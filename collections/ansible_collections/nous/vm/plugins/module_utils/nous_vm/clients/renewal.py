# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What remains of the clients on a host that is a copy of another one."""

from __future__ import annotations

REMAINS = ["the clients of the other host, which have tokens for both: sudo nous-vm clients revoke --all, then sudo nous-vm clients enrol NAME"]
