# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to become of a set, and how a diff shows it."""

from __future__ import annotations

import dataclasses
import stat
import typing as t

from .._accounts import group_name, user_name

if t.TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from .entries import Entry

MAX_SHOWN = 104448  # bytes of a file that a diff shows, as in ansible-core's own


@dataclasses.dataclass
class Change:
    """What has to become of one entry.

    found: what is there now, None if nothing is. rewrite: there is other content, or none. before: the old content,
    None if it is too long to show or nobody asked.
    """

    entry: Entry
    found: os.stat_result | None
    rewrite: bool
    before: bytes | None = None


@dataclasses.dataclass
class Outcome:
    """What was changed or, in check mode, would be; nothing in it is secret."""

    changed_paths: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def _shown(content: bytes | None, length: int) -> str:
    """Return content as a diff shows it; None stands for one that was not read."""
    if content is None or length > MAX_SHOWN:
        return f"({length} bytes, too many to show)\n"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"({length} bytes that are not UTF-8)\n"


def difference(change: Change) -> dict[str, t.Any]:
    """Return the entry of the diff for one path."""
    entry, found = change.entry, change.found
    after = {"state": entry.kind, "owner": entry.owner, "group": entry.group, "mode": f"{entry.mode:04o}"}
    before: dict[str, str] = {"state": "absent"}
    if found is not None:
        names = {"owner": user_name(found.st_uid), "group": group_name(found.st_gid)}
        before = {"state": entry.kind, **names, "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
    if entry.content is not None and change.rewrite:
        if entry.secret:
            before |= {} if found is None else {"content": "differs from the requested secret"}
            after["content"] = "the requested secret"
        else:
            old = "" if found is None else _shown(change.before, found.st_size)
            new = _shown(entry.content, len(entry.content))
            if old != new:
                headers = [f"{entry.path} ({_headline(state)})" for state in (before, after)]
                return {"before_header": headers[0], "after_header": headers[1], "before": old, "after": new}
            if found is not None:
                after["content"] = "other content, which cannot be shown"
    return {"before_header": entry.path, "after_header": entry.path, "before": before, "after": after}


def _headline(state: Mapping[str, str]) -> str:
    return state["state"] if len(state) == 1 else f"{state['owner']}:{state['group']} {state['mode']}"
