# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the inventory of a new host on the controller."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.nous.vm.plugins.plugin_utils import estate, validation
from ansible_collections.nous.vm.plugins.plugin_utils.rules import Fault, plain, shown

OPTIONS = {
    "host": {"type": "str", "required": True},
    "directory": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "variables": {"type": "dict", "default": {}},
}
COLLECTIONS = Path(__file__).parents[5]  # that has ansible_collections


class ActionModule(ActionBase):
    """The action of nous.vm.inventory."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, raw = self.validate_argument_spec(argument_spec=OPTIONS)
        given = plain(raw)
        known = estate.options()
        variables = {name: value for name, value in given["variables"].items() if name in known}
        address = estate.came_from(os.environ)
        if address:
            variables = {"caddy_gateway_operator_cidrs": [address]} | variables
        variables = {"caddy_gateway_hostname": given["host"]} | variables
        folder = Path(given["directory"] or given["host"])
        values, wrong = estate.read(given["host"], variables)
        wrong += self.misplaced(given["directory"])
        content = estate.files(given["host"], given["user"], values, COLLECTIONS)
        wrong = wrong or estate.taken(folder.absolute(), content)
        if wrong:
            return result | {"failed": True, "msg": validation.message(wrong)}
        if not self._task.check_mode:
            estate.write(folder, content)
        given_it = "caddy_gateway_operator_cidrs" in given["variables"]
        written = {"directory": str(folder.absolute()), "files": list(content), "operator": "" if given_it else address}
        diff = [{"before": "", "after": text, "after_header": str(folder / name)} for name, text in content.items()]
        return result | {"changed": True, **written, "diff": diff}

    def misplaced(self, directory: str) -> list[Fault]:
        """Return the fault of a folder whose name depends on where this is run."""
        if not directory or os.path.isabs(directory):
            return []
        return [Fault("nous_vm_directory", f"is {shown(directory)}", "the absolute path of a folder on this controller", "/srv/estate/nous")]
