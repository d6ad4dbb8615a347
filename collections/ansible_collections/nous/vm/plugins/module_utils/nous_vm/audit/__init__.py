# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An append-only log: its rotation in place and without loss, its archives, its guard, and what the health check looks at.

The writer keeps its open file. Most of the log is copied while it writes, and the archive before is compressed aside; then its units are frozen, the tail is
copied, the log is cut back to its last record and made append-only again, the archives get their new names, and the units are thawed. The last record stays
in the log and is not in the archive: a hash chain goes on, and nothing is there twice. A line that is still being written stays behind it, uncut.
"""
