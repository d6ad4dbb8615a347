# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What remains of the gateway on a host that is a copy of another one."""

from __future__ import annotations

REMAINS = ["a name of its own: caddy_gateway_hostname in an inventory of its own, DNS, and the site"]
