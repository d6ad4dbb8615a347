# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, and the exit code that says so. The one table of exit codes of nous-vm.

0  done, or nothing to do; healthy
1  failed, or not healthy; the last good state is in use
2  the call or the configuration is wrong; nothing was done
3  interrupted in the middle; recover completes it
4  somebody else holds the lock
"""

from __future__ import annotations

from typing import NoReturn


class NousVmError(Exception):
    """Something failed; the text is one sentence for a person."""

    exit_code = 1


class UsageError(NousVmError):
    """The call or the configuration is wrong; nothing was done."""

    exit_code = 2


class InterruptedWork(NousVmError):
    """Something ended in the middle; the command recover completes it."""

    exit_code = 3


class LockedError(NousVmError):
    """Somebody else holds the lock; nothing was done."""

    exit_code = 4


class ForeignError(NousVmError):
    """What another can influence is not what it has to be: too large, too late, not a regular file."""


def end(_signal: int, _frame: object) -> NoReturn:
    """End this process by way of its finally clauses: a handler of SIGTERM."""
    raise SystemExit(NousVmError.exit_code)
