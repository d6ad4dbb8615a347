# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count what a run executes on each host: what its time follows.

A task can execute several modules, or none, so it is the module executions that are counted, where they happen: in the forks,
which all append to one file. At the end one line a host is printed and, if NOUS_VM_EXECUTIONS names a file, a JSON object
{host: [module, ...]} is written to it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
  name: executions
  type: aggregate
  short_description: Count module executions a host
  description:
    - Prints how many modules a run executed on each host.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.directory = tempfile.TemporaryDirectory(prefix="executions-")
        self.seen = seen = Path(self.directory.name, "seen")
        seen.touch()
        execute = ActionBase._execute_module

        def counted(action: ActionBase, module_name: str | None = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
            host = action._task.delegate_to or (kwargs.get("task_vars") or {}).get("inventory_hostname", "")
            line = json.dumps([host, module_name or action._task.action, action._task.get_name()])
            with seen.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            result: dict[str, Any] = execute(action, module_name, *args, **kwargs)
            return result

        ActionBase._execute_module = counted

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts: dict[str, list[str]] = {}
        for line in self.seen.read_text(encoding="utf-8").splitlines():
            host, module, task = json.loads(line)
            hosts.setdefault(host, []).append(f"{module}: {task}")
        for host, executed in sorted(hosts.items()):
            self._display.display(f"{host}: {len(executed)} module executions")
        if target := os.environ.get("NOUS_VM_EXECUTIONS"):
            Path(target).write_text(json.dumps(hosts, indent=2), encoding="utf-8")
