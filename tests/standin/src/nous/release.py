# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pack.py changes from one release to the next."""

VERSION = "1.0.0"
FAULT = "none"  # none, or broken on purpose: crash, hang, error (over HTTP), toolless (over stdio)
