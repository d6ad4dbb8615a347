# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the variables of roles by their rules, and judges what the host answers."""

from __future__ import annotations

import functools
import re
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from .role import Host, Questions, Role, Values, merged, platform_fault
from .rules import Fault

ROLES = Path(__file__).parents[2] / "roles"
# What the collection installs; that of other paths the roles ask for.
MANAGED = (
    "/etc/nous-vm/**",
    "/usr/local/lib/nous-vm/**",
    "/usr/local/sbin/nous-vm*",
    "/etc/systemd/system/nous*",
    "/etc/systemd/system/audit-*",
    "/etc/systemd/system/audit-logrotate-*/*",
    "/etc/systemd/system/caddy.service.d/*",
    "/etc/systemd/system/multi-user.target.d/*",
    "/etc/nous",
    "/etc/nous/*.env",
)
# What patterns do not match, and directories that the collection shares with others, in which nothing else is looked at.
SHARED = (
    "/etc/nous-vm",
    "/usr/local/lib/nous-vm",
    "/etc/systemd/system/caddy.service.d",
    "/etc/systemd/system/multi-user.target.d",
    "/etc/bash_completion.d",
    "/etc/bash_completion.d/nous-vm",
)


# Without an answer the module looks for itself, and says what is wrong.
UNANSWERED = ("keys",)
COMMAND = "/usr/local/sbin/nous-vm"


class Unevaluable(Exception):
    """A variable whose template fails; the text says why."""


Variable = Callable[[str], t.Any]  # a variable's value by its name; raises Unevaluable, and KeyError if it is not defined


@functools.cache
def defaults(role: Role) -> Mapping[str, t.Any]:
    """Return the role's defaults."""
    found = yaml.safe_load((ROLES / role.name / "defaults/main.yml").read_text(encoding="utf-8"))
    return t.cast("Mapping[str, t.Any]", found)


def read(role: Role, variable: Variable) -> tuple[Values, list[Fault]]:
    """Return the converted values of a role's variables, and what is wrong with the others."""
    values, faults = Values(), []
    for name, rule in role.options.items():
        try:
            value = variable(name)
        except Unevaluable as error:
            faults.append(Fault(name, f"cannot be evaluated: {error}", rule.allowed, rule.example))
            continue
        except KeyError:
            if rule.required:
                faults.append(Fault(name, "is not set", rule.allowed, rule.example))
                continue
            value = defaults(role)[name]
        converted, wrong = rule.read(name, value)
        faults += wrong
        if not wrong:
            values[name] = converted
    return values, faults


def read_all(roles: Iterable[Role], variable: Variable) -> tuple[dict[str, Values], list[Fault]]:
    """Return the converted values by role, and all that is wrong with the values of all of them."""
    read_roles = {role: read(role, variable) for role in roles}
    faults = [fault for _values, wrong in read_roles.values() for fault in wrong]
    faults += [fault for role, (values, _wrong) in read_roles.items() for fault in role.across(values)]
    return {role.name: values for role, (values, _wrong) in read_roles.items()}, faults


def without_consequences(faults: list[Fault], raw: Mapping[str, t.Any]) -> list[Fault]:
    """Return the faults without those of variables that are made of another one that has a fault itself; raw: the variables as they are written."""
    wrong = {fault.variable for fault in faults}
    return [fault for fault in faults if not (made_of(fault.variable, raw) & wrong)]


def made_of(variable: str, raw: Mapping[str, t.Any]) -> set[str]:
    """Return the other variables that the templates of a variable name, and those that their templates name, and so on."""
    found: set[str] = set()
    left = [variable]
    while left:
        written = raw.get(left.pop())
        words = set(re.findall("[A-Za-z_][A-Za-z0-9_]*", written)) if isinstance(written, str) and "{{" in written else set()
        left += sorted((words & raw.keys()) - found - {variable})
        found |= words & raw.keys()
    return found - {variable}


def questions(roles: Iterable[Role], values: Mapping[str, Values]) -> Questions:
    """Return all that is asked of the host, for all roles, each once."""
    every: list[Questions] = [{"packages": [], "accounts": [], "groups": [], "ports": [], "space": [], "pythons": [], "matches": [COMMAND]}]
    every += [{"units": [], "flags": [], "calendars": [], "elapses": [], "paths": [*SHARED, *MANAGED]}]
    return merged(every + [role.asks(values[role.name]) for role in roles])


def judged(roles: Iterable[Role], values: Mapping[str, Values], host: Host) -> list[Fault]:
    """Return all that is wrong with what the host answers."""
    if failed := {name: problem for name, problem in host["failed"].items() if name not in UNANSWERED}:
        allowed = "a host that answers in time, to root"
        return [Fault("The host", f"does not answer the question for its {name}: {problem}", allowed) for name, problem in failed.items()]
    return platform_fault(host) or [*masked(roles, values, host), *(fault for role in roles for fault in role.judged(values[role.name], host))]


def masked(roles: Iterable[Role], values: Mapping[str, Values], host: Host) -> Iterator[Fault]:
    """Yield the fault of each unit of a role that is to be applied which somebody masked: no run could start it."""
    asked = [unit for role in roles if role.present(values[role.name]) for unit in role.questions(values[role.name]).get("units", [])]
    for unit in dict.fromkeys(asked):
        if host["units"].get(unit, {}).get("LoadState") == "masked":
            yield Fault(unit, "is masked on this host", "a unit that can be started", f"sudo systemctl unmask {unit}, and the run again")


def message(faults: list[Fault]) -> str:
    """Return what is wrong, a line each; one fault is a sentence by itself."""
    lines = list(dict.fromkeys(map(str, faults)))
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} values cannot be used; nothing was changed.", *(f"- {line}" for line in lines)])
