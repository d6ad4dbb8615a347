# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of this host, by name and by number.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import grp
import pwd

NOBODY_YET = -1  # a user or group that this host does not have


def uid_of(name: str) -> int:
    """Return the number of a user by name or number, NOBODY_YET if there is none."""
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return NOBODY_YET


def gid_of(name: str) -> int:
    """Return the number of a group by name or number, NOBODY_YET if there is none."""
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        return NOBODY_YET


def user_name(uid: int) -> str:
    """Return a user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, or the number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
