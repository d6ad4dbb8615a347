# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who could overwrite a log while it is not append-only: processes that hold it open, or could open it, outside the frozen units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..cgroups import pids
from ..errors import NousVmError
from ..processes import Process, openers, writers
from .log import Log


def inside(found: Iterable[Process], cgroups: Iterable[str]) -> list[Process]:
    """Return those processes that are in one of these cgroups."""
    folders = tuple(f"{cgroup}/" for cgroup in cgroups)
    return [each for each in found if f"{each.cgroup}/".startswith(folders)]


def _outside(found: list[Process], cgroups: Mapping[str, str]) -> str:
    known = inside(found, cgroups.values())
    return ", ".join(str(each) for each in found if each not in known)


def reject_overwriters(path: Path, found: list[Process]) -> None:
    """Raise NousVmError if a process that holds the log could overwrite it; after a cut it would leave a hole."""
    if names := ", ".join(str(each) for each in found if not each.appends):
        raise NousVmError(f"{path} is held open for writing without O_APPEND, or mapped into memory, by {names}: stop it")


def reject_others(log: Log, cgroups: Mapping[str, str]) -> None:
    """Raise NousVmError if somebody writes while the units are frozen, or could open the log as long as it can be overwritten.

    The memory of others was looked into before the freeze: of an append-only file there can be no new mapping that is writable.
    """
    config, units = log.config, ", ".join(cgroups) or "the units"
    holders = writers(log.live, mapped_by=pids(cgroups.values()))
    if names := _outside(holders, cgroups):
        raise NousVmError(f"{log.live} is held open for writing outside {units} by {names}: stop it")
    reject_overwriters(log.live, holders)
    if names := _outside(openers(config.uid, {config.gid} if config.mode & 0o020 else set()), cgroups):
        raise NousVmError(f"{log.live} could be opened by {names} outside {units}, of {config.owner}:{config.group}: stop it")
