# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Executes nothing on the host for a key set that was proven already, by what nous.vm.validate saw in this run."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.nous.vm.plugins.plugin_utils import run as this_run
from ansible_collections.nous.vm.plugins.plugin_utils.rules import plain


class ActionModule(ActionBase):
    """The action of nous.vm.oauth_key."""

    TRANSFERS_FILES = False
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = plain(self._task.args)
        seen = this_run.recall(arguments.pop("seen", None)) or {}
        for each in seen.get("keys", []):
            if each["asked"] == arguments:
                return result | t.cast("dict[str, t.Any]", each["result"])
        done = self._execute_module(module_name="nous.vm.oauth_key", module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val)
        return result | t.cast("dict[str, t.Any]", done)
