# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a new host: its variables by the rules of the roles, and its files, none of which takes the place of another."""

from __future__ import annotations

import ipaddress
import os
import typing as t
from collections.abc import Mapping
from pathlib import Path

import yaml

from . import validation
from .kinds import hostname
from .role import ROLES, load
from .rules import Fault, shown

HEADER = "---\n# Written by nous.vm.new. Yours from now on: nothing writes it again.\n"
# Of a folder that ansible-galaxy installs to by default, Ansible needs not be told.
USUAL = (Path.home() / ".ansible/collections", Path("/usr/share/ansible/collections"))
CONFIGURATION = """# Written by nous.vm.new. Yours from now on: nothing writes it again.
[defaults]
inventory = hosts.yml
{collections}# A run on one screen, in the collection; `default` is Ansible's own.
stdout_callback = nous.vm.brief
callback_result_format = yaml
interpreter_python = /usr/bin/python3

[connection]
pipelining = true
"""


def came_from(environment: Mapping[str, str]) -> str:
    """Return the address, as a network, that the person who runs this came from by ssh; nothing if there is none that another host would see."""
    word = (environment.get("SSH_CONNECTION") or environment.get("SSH_CLIENT") or "").split(" ")[0]
    try:
        address = ipaddress.ip_address(word.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return "" if address.is_loopback or address.is_link_local or address.is_unspecified else f"{address}/{address.max_prefixlen}"


def options() -> set[str]:
    """Return the names of all variables of all roles."""
    return {option for name in ROLES for option in load(name).options}


def read(host: str, variables: Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[Fault]]:
    """Return the converted variables of a host, and what is wrong with them, by the same rules as nous.vm.validate."""
    roles = [load(name) for name in ROLES]
    given = {"caddy_gateway_hostname": host, "nous_service_issuer": "https://nous.example.org"} | dict(variables)
    by_role, found = validation.read_all(roles, lambda name: given[name])
    values = {name: value for of_role in by_role.values() for name, value in of_role.items()}
    wrong = hostname().read("nous_vm_host", host)[1]
    if wrong:  # one fault, by the name that was given
        found = [each for each in found if each.variable != "caddy_gateway_hostname"]
    rules = {name: rule for role in roles for name, rule in role.options.items()}
    secret = "is secret, and would be written as it is", "a file of group_vars that ansible-vault encrypted", "ansible-vault create group_vars/nous/vault.yml"
    wrong += [Fault(name, *secret) for name in variables if rules[name].secret and variables[name]]
    return {name: values.get(name) for name in given if name in variables}, [*wrong, *map(unset, found)]


def unset(fault: Fault) -> Fault:
    """Return a fault; of the one variable that could come from the connection, with why it did not."""
    if fault.variable != "caddy_gateway_operator_cidrs" or fault.given != "is not set":
        return fault
    is_now = "is not set, and you did not come by ssh from an address that the host would see"
    return fault._replace(given=is_now, example="-e caddy_gateway_operator_cidrs=203.0.113.7/32, your own address as the internet sees it")


def files(host: str, user: str, variables: Mapping[str, t.Any], collections: Path) -> dict[str, str]:
    """Return the content of the files by their names. collections: the folder that this collection is installed in."""
    settings: dict[str, t.Any] = {"ansible_user": user} if user else {}
    told = "" if collections in USUAL else f"collections_path = {collections}\n"
    return {
        "hosts.yml": HEADER + dumped({"nous": {"hosts": {host: settings or None}}}),
        "group_vars/nous.yml": HEADER + dumped(dict(variables)),
        "ansible.cfg": CONFIGURATION.format(collections=told),
    }


def dumped(document: Mapping[str, t.Any]) -> str:
    """Return YAML as a person writes it."""
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120))


def taken(folder: Path, names: t.Iterable[str]) -> list[Fault]:
    """Return the fault of a folder that has one of the files."""
    present = [name for name in names if os.path.lexists(folder / name)]
    if not present:
        return []
    return [Fault("nous_vm_directory", f"is {shown(str(folder))}, which has {' and '.join(present)}", "a folder without them", "/srv/estate/nous")]


def write(folder: Path, content: Mapping[str, str]) -> None:
    """Write the files, each only if there is none of its name; raise FileExistsError."""
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
