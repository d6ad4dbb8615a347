# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator requests of a deployment."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """What is to be deployed.

    actions: what will be done, for the report. leave: why the release that it replaces is not to come back by itself. restore: the backup to put back.
    migrate: whether a new release moves the data. backup: whether the database is copied before. earlier: as it was deployed before, with the files of then.
    anew: whether it was built a moment ago, though it had answered before.
    """

    release: str
    actions: list[str]
    leave: str = ""
    restore: str | None = None
    migrate: bool = False
    backup: bool = True
    earlier: bool = False
    anew: bool = False
