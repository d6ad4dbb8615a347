# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is this a calendar event that a timer of systemd can be given?"""

from __future__ import annotations

import typing as t

from ansible_collections.nous.vm.plugins.plugin_utils.calendar import is_calendar_event

if t.TYPE_CHECKING:
    from collections.abc import Callable


def calendar(value: object) -> bool:
    """Tell whether a value is a calendar event as systemd.time(7) has them; no time zone is looked up."""
    return isinstance(value, str) and is_calendar_event(value)


class TestModule:
    """Ansible's way to find the tests of this file."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Return the tests by name."""
        return {"calendar": calendar}
