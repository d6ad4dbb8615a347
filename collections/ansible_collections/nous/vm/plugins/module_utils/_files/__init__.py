# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files and directories, written as one transaction: as requested, all of it, or as it was before.

Whatever appears under a name appears in one step, complete, synced, and with its final owner and mode. What it replaces
keeps a second name until the whole set is there, so that putting it back is a rename. All runs of a user on a host take
turns, so that a temporary name that a run finds was left by one that was killed.

This package is private to the collection: other code must not import it.
"""

from __future__ import annotations

from .changes import Outcome
from .entries import Entry, FilesError, Validator, read_entries, read_validators
from .run import write_set

__all__ = ["Entry", "FilesError", "Outcome", "Validator", "read_entries", "read_validators", "write_set"]
