# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role backup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..kinds import absolute_path, calendar_event, choice, integer, packages, text_line, without_credentials
from ..role import Host, Questions, Role, Values, calendar_fault
from ..rules import LINE, Dict, Fault, Flag, List, OneFault, Rule, Text, shown

SHORTEST = 16  # characters of a password
NAME = "[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*"
SFTP = r"sftp:[^\s:@/]+@[^\s:/]+:/[^\s]*|sftp://[^\s:@/]+@[^\s:/]+(:[1-9][0-9]{0,4})?/[^\s]+"
REPOSITORY = rf"((/{NAME})+|{SFTP}|s3:https://[^\s]+|s3:[^\s/:]+/[^\s]+|rest:https?://[^\s]+)?"
PATHS = "a list of absolute paths, which may have * and ? in their last name"
OWN = ("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_CACHE_DIR")
KEEP = {name: integer(0, 10000, 24, "a number of backups") for name in ("hourly", "daily", "weekly", "monthly", "yearly")}


class Anything(OneFault):
    """Any value that JSON has."""

    def type(self) -> str:
        return "raw"

    def convert(self, value: Any) -> Any:
        return value


def patterns(example: str) -> List:
    element = Text(pattern=rf"(/{NAME})*/[A-Za-z0-9._@+*?-]+", allowed="an absolute path", example=example)
    return List(element=element, unique=True, allowed=PATHS, example=f"[{example}]")


OPTIONS: dict[str, Rule] = {
    "backup_state": choice("present", "absent"),
    "backup_repository": Text(
        pattern=REPOSITORY,
        accept=lambda text: text.startswith("sftp:") or without_credentials(text),
        allowed="nothing, or a repository as restic names it: an absolute path, sftp:, s3: or rest:, without a password",
        example="sftp:backup@storage.example.org:/srv/nous",
    ),
    "backup_password": Text(pattern=f"({LINE})", secret=True, allowed=f"a password of at least {SHORTEST} characters, on one line"),
    "backup_environment": Dict(
        key=Text(pattern="(AWS|RESTIC|B2|AZURE|GOOGLE|OS|ST)_[A-Z0-9_]+", accept=lambda name: name not in OWN, allowed="the name of one of restic's variables"),
        value=Text(secret=True, allowed="text on one line"),
        secret=True,
        allowed="a mapping of environment variables of restic for the place of its repository to text",
        example="{AWS_ACCESS_KEY_ID: ..., AWS_SECRET_ACCESS_KEY: ...}",
    ),
    "backup_options": List(
        element=text_line("an option as NAME=VALUE", "s3.storage-class=STANDARD_IA", r"[a-z0-9]+[.][a-z-]+=[^\s]*"),
        allowed="a list of restic's extended options, each as NAME=VALUE",
        example="[s3.storage-class=STANDARD_IA]",
    ),
    "backup_ssh_key": Text(pattern=r"(-----BEGIN [A-Z ]+-----[A-Za-z0-9+/=\s-]+)?", secret=True, allowed="nothing, or a private key as text"),
    "backup_ssh_known_hosts": List(
        element=text_line(pattern=f"[^#]{LINE} (ssh|ecdsa|sk-ssh|sk-ecdsa)-{LINE}"),
        allowed="a list of lines of ssh's known_hosts",
        example="[storage.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...]",
    ),
    "backup_append": patterns("/var/log/nous/audit.jsonl"),
    "backup_archives": patterns("/var/log/nous/audit.jsonl.*"),
    "backup_files": patterns("/etc/nous/keys/*"),
    "backup_jwks": absolute_path("/var/lib/nous-vm-checkpoint/nous/jwks.json", names=2),
    "backup_variables": Dict(
        key=text_line(pattern="[A-Za-z_][A-Za-z0-9_]*"),
        value=Anything(allowed="anything"),
        allowed="a mapping of names to values",
        example="{nous_service_issuer: ...}",
    ),
    "backup_schedule": calendar_event("hourly"),
    "backup_most_minutes": integer(1, 525600, 120, "a number of minutes"),
    "backup_keep": Dict(options=KEEP, allowed=f"a mapping of {', '.join(KEEP)} to numbers", example="{hourly: 48, daily: 30}"),
    "backup_check_days": integer(1, 365, 7, "a number of days"),
    "backup_drill_days": integer(1, 3650, 90, "a number of days"),
    "backup_packages": packages("restic"),
    "backup_manage_packages": Flag(),
}


# What the role's tasks remove.
OWN_FILES = (
    *(f"/etc/systemd/system/{name}" for name in ("nous-backup.timer", "nous-backup.service", "timers.target.wants/nous-backup.timer")),
    *("/etc/nous-vm/offsite.json", "/etc/nous-vm/backup", "/usr/local/lib/nous-vm/nous_vm/offsite", "/var/lib/nous-vm/offsite", "/var/cache/nous-backup"),
    "/var/lib/systemd/timers/stamp-nous-backup.timer",
)


class Backup(Role):
    """The role, which is applied where there is a repository alone."""

    def present(self, values: Values) -> bool:
        return super().present(values) and bool(values.get("backup_repository"))

    def lacking(self, values: Values, host: Host) -> list[str]:
        """Return what the host lacks; without a repository that is nothing."""
        return [] if super().present(values) and not self.present(values) else super().lacking(values, host)


def local(values: Values) -> str:
    """Return the folder that the repository is; empty if it is elsewhere."""
    repository: str = values["backup_repository"]
    return repository if repository.startswith("/") else ""


def password_is_one(values: Values) -> Iterator[Fault]:
    if len(values["backup_password"]) < SHORTEST:
        given = "is empty, and backup_repository is not" if not values["backup_password"] else "has a value that is not shown, and that is too short"
        yield Fault("backup_password", given, f"at least {SHORTEST} characters, kept where this host is not", "what openssl rand -base64 32 prints, in a vault")


def sftp_is_known(values: Values) -> Iterator[Fault]:
    if values["backup_repository"].startswith("sftp:"):
        for name, what in (
            ("backup_ssh_key", "a private key"),
            ("backup_ssh_known_hosts", "the lines that ssh-keyscan prints, compared on a way that you trust"),
        ):
            if not values[name]:
                yield Fault(name, f"is empty, and backup_repository is {shown(values['backup_repository'])}", what)


def in_time(values: Values) -> Iterator[Fault]:
    """Yield the fault of a retention that keeps nothing."""
    if not any(values["backup_keep"].values()):
        yield Fault("backup_keep", f"is {shown(values['backup_keep'])}, which keeps nothing", "at least one number above 0", "{hourly: 48, daily: 30}")


def derive(values: Values) -> dict[str, Any]:
    return {"local": local(values)}


def questions(values: Values) -> Questions:
    asked: Questions = {"units": ["nous-backup.timer", "nous-backup.service"], "matches": list(OWN_FILES)}
    if values["backup_repository"]:
        asked |= {"calendars": [values["backup_schedule"]], "paths": [local(values)] if local(values) else []}
    return asked


def judge(values: Values, host: Host) -> Iterator[Fault]:
    yield from calendar_fault("backup_schedule", values, host)


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    if host["units"]["nous-backup.timer"].get("ActiveState") != "active":
        yield Fault("nous-backup.timer", "is not active", "")


ROLE = Backup("backup", OPTIONS, together=(password_is_one, sftp_is_known, in_time), questions=questions, judge=judge, derive=derive, lacks=lacks)
