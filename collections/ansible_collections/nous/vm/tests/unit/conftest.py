# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.common import warnings
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import processes

# A module on a host has no controller's settings beside it; here a test of a filter brings them in, and with them a check that hosts do not make.
os.environ["ANSIBLE_MODULE_STRICT_UTF8_RESPONSE"] = "false"
MEMORY, ENOUGH = Path("/dev/shm"), 1 << 30  # bytes


def pytest_configure(config: pytest.Config) -> None:
    """Have files lie in memory where there is room: they are synced thousands of times, and what a disk does then is the business of the hosts' tests."""
    if not config.option.basetemp and "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


@pytest.fixture(autouse=True)
def no_warnings_of_other_tests() -> None:
    """A module runs in a process of its own, and here in one with all others: what they warned of is not its own."""
    warnings._global_warnings.clear()


def may_be_seen(pid: int) -> bool:
    """Tell whether root may look into a process: in a container it may not always."""
    try:
        os.readlink(f"/proc/{pid}/cwd")
    except PermissionError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture(autouse=True)
def garbage_is_looked_for() -> Iterator[None]:
    """The health check, whose process ends soon, does not."""
    yield
    gc.enable()


@pytest.fixture
def visible_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes of this machine, those are there that root may look into."""
    everybody = processes.pids
    monkeypatch.setattr(processes, "pids", lambda: list(filter(may_be_seen, everybody())))
