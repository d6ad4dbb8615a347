# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints lines to whoever runs a playbook, whatever the callback shows of results."""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.color import stringc
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.foreign import printable
from ansible_collections.nous.vm.plugins.plugin_utils.rules import plain

WIDTH, MOST = 400, 1000  # characters of a line, lines
COLORS = {"ok": constants.COLOR_OK, "warn": constants.COLOR_WARN, "unknown": constants.COLOR_WARN, "fail": constants.COLOR_ERROR}
OPTIONS = {
    "lines": {"type": "list", "elements": "str", "default": []},
    "rows": {"type": "list", "elements": "dict", "default": []},
}


class ActionModule(ActionBase):
    """The action of nous.vm.show."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(argument_spec=OPTIONS)
        lines: list[tuple[str, str | None]] = [(indented(line), None) for line in plain(given["lines"])]
        lines += [(indented(row_line(row)), COLORS.get(row.get("status", ""))) for row in plain(given["rows"])]
        if len(lines) > MOST:
            lines = [*lines[:MOST], (f"... and {len(lines) - MOST} lines more", None)]
        # What a callback prints as one JSON document stays one.
        apart = str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")).endswith("json")
        # One text, or lines of several hosts would mix.
        self._display.display("\n".join(stringc(line, color) if color else line for line, color in lines), stderr=apart)
        failed = [indented(described(row)) for row in plain(given["rows"]) if row.get("status") == "fail"]
        return result | {"changed": False, "lines": [line for line, _color in lines], "failed_rows": failed}


def row_line(row: t.Mapping[str, t.Any]) -> str:
    """Return a row of the health check as a line of a table."""
    return f"  {row.get('status', '')!s:<7} {described(row)}"


def described(row: t.Mapping[str, t.Any]) -> str:
    """Return what a row is about, and what it says."""
    return ": ".join(str(row.get(name, "")) for name in ("part", "name", "detail"))


def indented(line: str) -> str:
    """Return a line as it may be printed, with the blanks that a table has within it."""
    return "".join(each if each == " " else printable(each) for each in line.rstrip())[:WIDTH]
