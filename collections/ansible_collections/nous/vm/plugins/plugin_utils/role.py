# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a role: the rules of its options, its rules across options, what it asks of a host, and its rules on the answers."""

from __future__ import annotations

import importlib
import typing as t
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .rules import Fault, Rule

ROLES = ("python_runtime", "oauth_key", "audit_logrotate", "nous_service", "egress_proxy", "backup", "caddy_gateway", "host_watch")
PLATFORMS = {"Debian": ("trixie", "forky"), "Ubuntu": ("noble", "resolute")}
SUPPORTED = "Ubuntu 24.04 (noble) and 26.04 (resolute) and Debian 13 (trixie)"

Questions = dict[str, t.Any]
Host = Mapping[str, t.Any]


class Unusable(KeyError):
    """A variable that has a fault, so that a rule across variables cannot be applied."""


class Values(dict[str, t.Any]):
    """Converted values of one role or of several, without those that have a fault."""

    def __missing__(self, name: str) -> t.Any:
        raise Unusable(name)


Together = Callable[[Values], Iterator[Fault]]


def nothing_asked(_values: Values) -> Questions:
    return {}


def nothing_wrong(_values: Values, _host: Host) -> Iterator[Fault]:
    yield from ()


@dataclass(frozen=True, eq=False)
class Role:
    """The table of one role.

    options: by name. together: rules across options, for a role whose state is present. questions: what is asked of the host.
    judge: what is wrong with the answers. derive: what follows of the values on the controller. lacks: what is not on the host yet.
    """

    name: str
    options: Mapping[str, Rule]
    together: tuple[Together, ...] = ()
    questions: Callable[[Values], Questions] = nothing_asked
    judge: Callable[[Values, Host], Iterator[Fault]] = nothing_wrong
    derive: Callable[[Values], dict[str, t.Any]] = nothing_asked
    lacks: Callable[[Values, Host], Iterator[Fault]] = nothing_wrong

    def present(self, values: Values) -> bool:
        """Tell whether the role is to be applied, not uninstalled."""
        return bool(values.get(f"{self.name}_state", "present") == "present")

    def across(self, values: Values) -> list[Fault]:
        """Return what is wrong across options, so far as these have values."""
        faults: list[Fault] = []
        for rule in self.together if self.present(values) else ():
            try:
                faults += rule(values)
            except Unusable:
                continue
        return faults

    def asks(self, values: Values) -> Questions:
        """Return what is asked of the host, the packages included."""
        if not self.present(values):
            return self.questions(values)
        return merged([{"packages": values.get(f"{self.name}_packages", [])}, self.questions(values)])

    def missing_packages(self, values: Values, host: Host) -> list[str]:
        """Return the packages of the role that the host does not have and that are the role's to install."""
        if not self.present(values) or not values.get(f"{self.name}_manage_packages"):  # a role that needs no package has neither variable
            return []
        return [name for name in values[f"{self.name}_packages"] if name not in host["packages"]]

    def judged(self, values: Values, host: Host) -> list[Fault]:
        """Return what is wrong with what the host answers."""
        return [*self.judge(values, host)] if self.present(values) else []

    def lacking(self, values: Values, host: Host) -> list[str]:
        """Return what the host lacks, by name; facts of such a host are of a moment before the role was applied."""
        found = self.missing_packages(values, host)
        return found + [f"{fault.variable} {fault.given}" for fault in self.lacks(values, host)] if self.present(values) else ["state"]


def load(name: str) -> Role:
    """Return the table of a role by its name, with or without that of the collection; raise ValueError if there is none."""
    short = name.removeprefix("nous.vm.")
    if short not in ROLES:
        raise ValueError(f"there is no role {name!r}; allowed are {', '.join(ROLES)}")
    return t.cast("Role", importlib.import_module(f".roles.{short}", __package__).ROLE)


def merged(questions: list[Questions]) -> Questions:
    """Return the questions of several roles as one, each asked once."""
    found: Questions = {}
    for name, asked in (pair for each in questions for pair in each.items()):
        if isinstance(asked, dict):
            found[name] = found.get(name, {}) | asked
        else:
            found[name] = found.get(name, []) + [each for each in asked if each not in found.get(name, [])]
    return found


def platform_fault(host: Host) -> list[Fault]:
    """Return the fault of a platform that the roles do not run on."""
    found = host["platform"]
    if found["release"] in PLATFORMS.get(found["distribution"], ()):
        return []
    return [Fault("The host", f"runs {found['distribution']} {found['version']} ({found['release']})", SUPPORTED)]


def calendar_fault(variable: str, values: Values, host: Host) -> Iterator[Fault]:
    """Yield the fault of a schedule that the host's own systemd does not take."""
    if problem := host["calendars"].get(values[variable], ""):
        allowed = "a calendar event that the systemd of this host knows, systemd.time(7)"
        yield Fault(variable, f'is "{values[variable]}", of which systemd-analyze prints: {problem}', allowed, "daily")
