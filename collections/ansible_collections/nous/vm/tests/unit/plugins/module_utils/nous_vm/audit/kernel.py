# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the kernel's freezer, for what tests/rotation shows with the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cgroups
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import freeze, freezer


def throw(error: Exception) -> NoReturn:
    """Raise what is not known to be an error before."""
    raise error


class Kernel:
    """Cgroups that are frozen and thawed at once. error: what writing to one raises. deaf: nothing is frozen, though it can be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frozen: set[str] = set()
        self.error: OSError | None = None
        self.deaf = False
        self.before_thaw: Callable[[], object] = lambda: None
        for module in (freeze, freezer, cgroups):
            monkeypatch.setattr(module, "events", self.events)
        for each in (freeze, freezer):
            monkeypatch.setattr(each, "set_frozen", self.set_frozen)

    def events(self, cgroup: str) -> cgroups.Events:
        return cgroups.Events(populated=True, frozen=cgroup in self.frozen)

    def set_frozen(self, cgroup: str, on: bool) -> None:
        if self.error:
            throw(self.error)
        if on and not self.deaf:
            self.frozen.add(cgroup)
        elif not on:
            self.before_thaw()
            self.frozen.discard(cgroup)
