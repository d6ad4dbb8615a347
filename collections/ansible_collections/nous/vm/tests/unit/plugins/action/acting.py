# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs an action plugin as ansible-core does, in this process; what it would execute on a host goes to a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template

Execute = Callable[[str, dict[str, Any]], dict[str, Any]]


def trusted(value: Any) -> Any:
    """Return variables as they come from an inventory: templates in them are evaluated."""
    if isinstance(value, dict):
        return {key: trusted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [trusted(each) for each in value]
    return trust_as_template(value) if isinstance(value, str) else value


class Acting:
    """What runs an action. executed: name and arguments of each module that it executed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plugin: type[ActionBase], execute: Execute) -> None:
        self.plugin, self.executed = plugin, []  # type: ignore[var-annotated]

        def executed(_self: ActionBase, module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
            self.executed.append((module_name, module_args))
            return execute(module_name, module_args)

        monkeypatch.setattr(ActionBase, "_execute_module", executed)

    def run(self, arguments: dict[str, Any], variables: dict[str, Any] | None = None, check: bool = False) -> dict[str, Any]:
        loader, known = DataLoader(), trusted({"inventory_hostname": "host", **(variables or {})})
        task = Task()
        task.args, task.async_val, task.check_mode = arguments, 0, check
        action = self.plugin(
            task=task, connection=MagicMock(), play_context=MagicMock(), loader=loader, templar=Templar(loader, variables=known), shared_loader_obj=None
        )
        found: dict[str, Any] = action.run(None, known)
        return found
