# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validates the variables of roles on the controller, and what they need of the host by one probe."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.foreign import printable
from ansible_collections.nous.vm.plugins.plugin_utils import run as this_run
from ansible_collections.nous.vm.plugins.plugin_utils import validation
from ansible_collections.nous.vm.plugins.plugin_utils.role import ROLES, Role, Values, load
from ansible_collections.nous.vm.plugins.plugin_utils.rules import plain

TABLES = [load(name) for name in ROLES]  # here, because the process of each task, which is forked after this, would read them anew
MOST_OF_AN_ERROR = 300  # characters of a template's error
OPTIONS = {
    "roles": {"type": "list", "elements": "str", "required": True},
    "earlier": {"type": "str"},
    "probe": {"type": "bool", "default": True},
    "adopt": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """The action of nous.vm.validate."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, given = self.validate_argument_spec(argument_spec=OPTIONS)
        try:
            roles = [load(name) for name in given["roles"]]
        except ValueError as error:
            raise AnsibleActionFail(f"nous.vm.validate: {error}.") from None

        values, faults = validation.read_all(roles, lambda name: self.variable(name, variables))
        if faults:
            return result | {"failed": True, "msg": validation.message(validation.without_consequences(faults, variables))}
        derived = {role.name: role.derive(values[role.name]) for role in roles}
        for warning in (each for of_role in derived.values() for each in of_role.pop("warnings", [])):
            self._display.warning(warning)
        shared = {
            "changed": False,
            "inventory_hostname": plain(variables.get("inventory_hostname")),
            "values": {name: dict(each) for name, each in values.items()},
            "derived": derived,
            "_ansible_no_log": True,  # values may be secret; what is wrong with them never shows one
        }
        if len(roles) == 1:  # for templates, which name them often: each step on the way is compiled anew each time
            shared |= values[roles[0].name]
        if not given["probe"]:
            return result | shared

        seen = this_run.recall(given["earlier"]) or {}
        earlier: dict[str, t.Any] = seen.get("result", {})
        if self.serves(given["earlier"], seen, roles, shared):
            return result | shared | earlier | {"identity": given["earlier"]}
        adopt = given["adopt"] or bool(earlier.get("host", {}).get("adopt"))
        return result | self.probed(roles, values, shared, variables, adopt)

    def variable(self, name: str, variables: dict[str, t.Any]) -> t.Any:
        """Return the value of a variable, its templates evaluated."""
        raw = variables[name]
        if raw is None or isinstance(raw, (bool, int, float)) or (isinstance(raw, str) and "{" not in raw):
            return plain(raw)  # no template, as most are none
        try:
            return plain(self._templar.template(raw))
        except AnsibleError as error:
            raise validation.Unevaluable(printable(str(error), MOST_OF_AN_ERROR)) from None

    def serves(self, identity: str, seen: dict[str, t.Any], roles: list[Role], shared: dict[str, t.Any]) -> bool:
        """Tell whether what the host answered earlier in this run is good for these roles now.

        It is, once for each role, if the values are the same and the host lacked nothing then: what a run did since is not in it.
        """
        if seen.get("inventory_hostname") != shared["inventory_hostname"]:
            return False
        names = [role.name for role in roles]
        given = self.digests(shared["values"])
        if any(seen["given"].get(name) != given[name] or seen["result"]["lacking"].get(name) != [] for name in names):
            return False
        return this_run.use(identity, names)

    def digests(self, values: t.Mapping[str, t.Any]) -> dict[str, str]:
        """Return digests by which this run knows the values of each role again: they may be secret."""
        return {name: this_run.digest(json.dumps(each, sort_keys=True).encode(), this_run.key()) for name, each in values.items()}

    def probed(self, roles: list[Role], values: dict[str, Values], shared: dict[str, t.Any], variables: dict[str, t.Any], adopt: bool) -> dict[str, t.Any]:
        """Return the result with what the host answers, or what is wrong with that."""
        arguments = {"questions": validation.questions(roles, values), "key": this_run.key()}
        host = self._execute_module(module_name="nous.vm.probe", module_args=arguments, task_vars=variables)
        if host.get("failed") or "answers" not in host:
            return {**host, "failed": True}
        answers = plain(host["answers"]) | {"adopt": adopt}
        if faults := validation.judged(roles, values, answers):
            return {"failed": True, "msg": validation.message(faults)}
        lacking = {role.name: role.lacking(values[role.name], answers) for role in roles}
        packages = sorted({name for role in roles for name in role.missing_packages(values[role.name], answers)})
        # What is for other actions alone, and large, is no variable, which would be copied for every task that follows.
        large = {name: answers.pop(name) for name in ("paths", "keys") if name in answers}
        found = {"host": answers, "lacking": lacking, "missing_packages": packages}
        kept = {"inventory_hostname": shared["inventory_hostname"], "given": self.digests(shared["values"]), "result": found}
        return {**shared, **found, "identity": this_run.record(large | kept)}
