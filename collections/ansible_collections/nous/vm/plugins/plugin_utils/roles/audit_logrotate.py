# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role audit_logrotate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ..kinds import absolute_path, account_name, calendar_event, choice, file_name, integer, octal_mode, optional, unit_name
from ..role import Host, Questions, Role, Values, calendar_fault
from ..rules import Fault, Flag, List, Rule, Text, shown

# A log named like another's archive would be rotated away as one.
FILE = replace(file_name("audit.jsonl"), accept=lambda text: not re.fullmatch(".*[.][0-9]+([.]gz)?", text))
FILES = "file names without a path or a final number"
TRAILS = "/var/log/nous-vm"  # where the trail of events is too
DIRECTORY_MODE = "0750"  # as nous.vm.append_only has it
HELPERS = ("-recover", "-guard", "-watch", "-mend")
NAME_OF_ROTATION = "lower-case letters, digits and hyphens after a letter, without -recover, -guard, -watch or -mend at the end"

OPTIONS: dict[str, Rule] = {
    "audit_logrotate_state": choice("present", "absent"),
    "audit_logrotate_name": Text(pattern="[a-z][a-z0-9-]{0,63}", accept=lambda text: not text.endswith(HELPERS), allowed=NAME_OF_ROTATION, example="nous"),
    "audit_logrotate_directory": absolute_path("/var/log/nous"),
    "audit_logrotate_files": List(element=FILE, least=1, unique=True, allowed=f"a list of at least one of {FILES}, none twice", example="[audit.jsonl]"),
    "audit_logrotate_anchors": List(element=FILE, unique=True, allowed=f"a list of {FILES}, none twice", example="[audit-anchors.jsonl]"),
    "audit_logrotate_units": List(
        element=unit_name("service", "scope", "slice"), allowed="a list of full names of services, scopes or slices", example="[nous.service]"
    ),
    "audit_logrotate_owner": account_name("root", root=True),
    "audit_logrotate_group": account_name("nous", root=True),
    "audit_logrotate_mode": octal_mode("0660"),
    "audit_logrotate_keep": integer(2, 36525, 90, "a number of archives"),
    "audit_logrotate_schedule": calendar_event(),
    "audit_logrotate_compress": Flag(),
    "audit_logrotate_checkpoint_key": optional(absolute_path("/var/lib/nous-vm-checkpoint/nous/keys/1.pem", names=2)),
    "audit_logrotate_checkpoint_jwks": optional(absolute_path("/var/lib/nous-vm-checkpoint/nous/jwks.json", names=2)),
    "audit_logrotate_guard": choice("enforce", "warn", "off"),
    "audit_logrotate_reserve": integer(1, 65536, 64, "a number of MiB"),
}


def rotated_or_kept(values: Values) -> Iterator[Fault]:
    both = [name for name in values["audit_logrotate_files"] if name in values["audit_logrotate_anchors"]]
    if both:
        given = f"has {' and '.join(map(shown, both))}, which audit_logrotate_anchors has too"
        yield Fault("audit_logrotate_files", given, "a file name in one of the two", "[audit.jsonl]")


def key_and_set(values: Values) -> Iterator[Fault]:
    key, jwks = values["audit_logrotate_checkpoint_key"], values["audit_logrotate_checkpoint_jwks"]
    if bool(key) != bool(jwks):
        yield Fault("audit_logrotate_checkpoint_jwks", f"is {shown(jwks)}, and audit_logrotate_checkpoint_key is {shown(key)}", "both, or none", "both empty")
    elif key and jwks.rpartition("/")[0] == key.rpartition("/")[0]:
        yield Fault(
            "audit_logrotate_checkpoint_jwks",
            f"is {jwks}, beside the key",
            "a path in another folder than that of the keys",
            "/var/lib/nous-vm-checkpoint/nous/jwks.json",
        )


def checkpoints(values: Values) -> list[str]:
    """Return the file of the checkpoints, if there are any."""
    return [f"{TRAILS}/checkpoints-{values['audit_logrotate_name']}.jws"] if values["audit_logrotate_checkpoint_key"] else []


def paths(values: Values) -> list[str]:
    """Return the logs and the anchors."""
    return [f"{values['audit_logrotate_directory']}/{name}" for name in values["audit_logrotate_files"] + values["audit_logrotate_anchors"]]


def questions(values: Values) -> Questions:
    name = values["audit_logrotate_name"]
    return {
        "calendars": [values["audit_logrotate_schedule"]],
        "elapses": [values["audit_logrotate_schedule"]],
        "groups": [values["audit_logrotate_group"]],
        "accounts": [values["audit_logrotate_owner"]],
        "units": [
            *(f"audit-logrotate-{name}{each}" for each in (".timer", "-recover.service", "-guard.service", "-watch.service")),
            f"audit-checkpoint-{name}.timer",
        ],
        "flags": paths(values) + checkpoints(values),
        "paths": [values["audit_logrotate_directory"], *paths(values), *checkpoints(values)],
        "matches": [path for path in (values["audit_logrotate_checkpoint_key"], values["audit_logrotate_checkpoint_jwks"]) if path],
    }


def judge(values: Values, host: Host) -> Iterator[Fault]:
    yield from calendar_fault("audit_logrotate_schedule", values, host)
    # The server pins the head of its log once a day, and its verifier takes a log without the newest of those heads for truncated.
    least = host["elapses"].get(values["audit_logrotate_schedule"], 1) + 1
    if values["audit_logrotate_keep"] < least:
        schedule = shown(values["audit_logrotate_schedule"])
        allowed = f"at least {least} archives with audit_logrotate_schedule {schedule}, so that they reach back to the server's newest daily anchor"
        yield Fault("audit_logrotate_keep", f"is {values['audit_logrotate_keep']}", allowed, "90")


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    owner, group = values["audit_logrotate_owner"], values["audit_logrotate_group"]
    if group not in host["groups"]:
        yield Fault(group, "is absent", "")
    expected = {values["audit_logrotate_directory"]: DIRECTORY_MODE} | dict.fromkeys(paths(values), values["audit_logrotate_mode"])
    for path, mode in expected.items():
        found = host["paths"].get(path, {})
        if (found.get("owner"), found.get("group"), found.get("mode")) != (owner, group, mode):
            yield Fault(path, "has another owner or mode, or is absent", "")
    for path in paths(values) + checkpoints(values):
        if not host["flags"].get(path):
            yield Fault(path, "is not append-only", "")


ROLE = Role("audit_logrotate", OPTIONS, together=(rotated_or_kept, key_and_set), questions=questions, judge=judge, lacks=lacks)
