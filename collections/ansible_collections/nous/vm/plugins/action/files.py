# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renders templates and lists the host's package here, and executes nothing for a set that is there already, by what nous.vm.validate saw in this run."""

from __future__ import annotations

import functools
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.nous.vm.plugins.plugin_utils import package
from ansible_collections.nous.vm.plugins.plugin_utils import run as this_run
from ansible_collections.nous.vm.plugins.plugin_utils.installed import is_installed
from ansible_collections.nous.vm.plugins.plugin_utils.rules import plain

OWN = ("package", "seen")  # options that the module does not have
BECOMES = {"template": "content", "secret_template": "secret_content"}


PACKAGE = f"{package.LIBRARY}/nous_vm"


def is_new(entry: dict[str, t.Any]) -> bool:
    """Tell whether the entry of a diff is of something of the host's package that was not there."""
    header: str = entry["before_header"]
    return header.startswith(PACKAGE) and (header.endswith(" (absent)") or entry["before"] == {"state": "absent"})


def shortened(diff: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return a diff with one line in the place of what is new of the host's package: it is what the collection holds, some 30,000 lines."""
    others = [entry for entry in diff if not is_new(entry)]
    if len(others) == len(diff):
        return diff
    line = f"{len(diff) - len(others)} new files and folders, as the collection has them\n"
    return [{"before_header": PACKAGE, "after_header": PACKAGE, "before": "", "after": line}, *others]


class ActionModule(ActionBase):
    """The action of nous.vm.files."""

    TRANSFERS_FILES = False
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        given = plain(self._task.args)
        arguments = {name: value for name, value in given.items() if name not in OWN}
        if isinstance(given.get("files"), list):
            arguments["files"] = [self.rendered(entry, task_vars or {}) for entry in given["files"]]
        if given.get("package") is not None:
            arguments = self.packaged(given["package"], arguments)
        seen = this_run.recall(given.get("seen"))
        if seen is not None and is_installed(arguments, seen["paths"], functools.partial(this_run.digest, with_key=this_run.key())):
            return result | {"changed": False, "changed_paths": [], "diff": []}
        done = self._execute_module(module_name="nous.vm.files", module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val)
        if "diff" in done:
            done["diff"] = shortened(done["diff"])
        return result | t.cast("dict[str, t.Any]", done)

    def packaged(self, subpackages: t.Any, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the arguments with the host's package before the set, and its byte code."""
        try:
            files = package.entries(subpackages) + arguments.get("files", [])
        except ValueError as error:
            raise AnsibleActionFail(f"package has {error} of nous_vm; allowed is a list of those that there are, for example [deploy].") from None
        return {"byte_compile": PACKAGE} | arguments | {"files": files}

    def rendered(self, entry: t.Any, variables: dict[str, t.Any]) -> t.Any:
        """Return an entry of the set with content in place of its template."""
        if not isinstance(entry, dict):
            return entry
        done: dict[str, t.Any] = {}
        for name, value in entry.items():
            option: str = BECOMES.get(name) or name
            if option in done:
                raise AnsibleActionFail(f"{entry.get('path')} has both {option} and a template of it; a file has one of them.")
            done[option] = self.render(value, variables) if name in BECOMES else value
        return done

    def render(self, template: str, variables: dict[str, t.Any]) -> str:
        """Return what a template becomes, as ansible.builtin.template would have it. Its lookup copies all variables first, a tenth of a second each time."""
        path = self._find_needle("templates", template)
        templar = self._templar.copy_with_new_env(searchpath=[os.path.dirname(path)], available_variables=variables)
        content = templar.template(trust_as_template(self._loader.get_text_file_contents(path)), escape_backslashes=False)
        return t.cast("str", plain(content))
