# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role host_watch."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..kinds import NAME, PORT, absolute_path, choice, integer, optional, text_line
from ..role import Host, Questions, Role, Values
from ..rules import LINE, Fault, Flag, List, Rule, Text

SUFFIXES = ("service", "socket", "timer", "path")  # of what can fail
UNIT = rf"[A-Za-z0-9:_.@\\-]{{1,200}}([.]({'|'.join(SUFFIXES)}|slice|target)|-)"
LOOPBACK = rf"http://(localhost|127[.]0[.]0[.]1|\[::1\])(:{PORT})?"
URL = rf"((https://[A-Za-z0-9.\[\]:-]+|{LOOPBACK})([/?][!-~]*)?)?"
FOLDER = "/etc/systemd/system"
TIMER = "host-watch.timer"
APT_TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
APT_FILE = "/etc/apt/apt.conf.d/52nous-vm-unattended-upgrades"
PROGRAM = "/usr/bin/unattended-upgrade"
BEFORE = "/var/lib/nous-vm/watch/before-unattended-upgrades.json"  # what an uninstallation gives back


def _url(example: str) -> Text:
    words = "nothing, or an https URL without a user's name, or an http URL of a loopback address"
    return Text(pattern=URL, secret=True, allowed=words, example=example)


OPTIONS: dict[str, Rule] = {
    "host_watch_state": choice("present", "absent"),
    "host_watch_units": List(
        element=Text(pattern=UNIT, accept=lambda text: not text.startswith((".", "-")), allowed="a unit"),
        unique=True,
        allowed="a list of full names of units, or of the beginnings of names, which end with a hyphen, none twice",
        example="[nous.service, audit-logrotate-]",
    ),
    "host_watch_names": List(
        element=Text(pattern=rf"(/{NAME}){{2,}}|[0-9A-Za-z.\[\]:-]+:{PORT}", allowed="a path or an address"),
        allowed="a list of absolute paths, none directly below /, and of addresses with a port",
        example="[/opt/nous, 127.0.0.1:8088]",
    ),
    "host_watch_known": List(element=absolute_path("/etc/cron.d/backup"), allowed="a list of absolute paths of files", example="[/etc/cron.d/backup]"),
    "host_watch_ports": List(element=integer(1, 65535, 443), unique=True, allowed="a list of TCP ports, none twice", example="[80, 443]"),
    "host_watch_alert_command": List(
        element=text_line(pattern=f"(?=.){LINE}"), allowed="a list of a program's absolute path and its arguments", example="[/usr/local/bin/alert, ops]"
    ),
    "host_watch_alert_url": _url("https://ntfy.sh/a-topic-that-nobody-guesses"),
    "host_watch_alert_format": choice("json", "slack", "text"),
    "host_watch_heartbeat_url": _url("https://hc-ping.com/0b8a4c1e-1111-2222-3333-444455556666"),
    "host_watch_textfile_directory": absolute_path("/var/lib/prometheus/node-exporter", names=2),
    "host_watch_unattended_upgrades": Flag(),
    "host_watch_reboot_time": optional(
        Text(pattern="([01][0-9]|2[0-3]):[0-5][0-9]", allowed='a time in quotes, from "00:00" to "23:59"', example='"04:30"'),
    ),
}


def command_is_a_path(values: Values) -> Iterator[Fault]:
    command = values["host_watch_alert_command"]
    if command and not re.fullmatch(rf"(/{NAME})+", command[0]):
        given = f"begins with {command[0][:80]!r}, and nobody looks for programs in a PATH"
        yield Fault("host_watch_alert_command", given, OPTIONS["host_watch_alert_command"].allowed, "[/usr/local/bin/alert, ops]")


def reboots_for_upgrades(values: Values) -> Iterator[Fault]:
    if values["host_watch_reboot_time"] and not values["host_watch_unattended_upgrades"]:
        given = f'is "{values["host_watch_reboot_time"]}", and host_watch_unattended_upgrades is false'
        yield Fault("host_watch_reboot_time", given, "nothing, unless unattended upgrades are what the host reboots for", '""')


def drop_ins(values: Values) -> list[str]:
    """Return the drop-ins of the units that are watched: of a beginning, one for each kind of unit."""
    found = []
    for name in values["host_watch_units"]:
        kinds = [f"{name}.{suffix}" for suffix in SUFFIXES] if name.endswith("-") else [name] if name.endswith(SUFFIXES) else []
        found += [f"{FOLDER}/{each}.d/host-watch.conf" for each in kinds]
    return found


def secrets(values: Values) -> dict[str, str]:
    """Return the URLs, by the names of their files."""
    given = {"alert-url": values["host_watch_alert_url"], "heartbeat-url": values["host_watch_heartbeat_url"]}
    return {name: url for name, url in given.items() if url}


def derive(values: Values) -> dict[str, object]:
    return {"drop_ins": drop_ins(values), "secrets": secrets(values)}


def questions(values: Values) -> Questions:
    folders = [path.rpartition("/")[0] for path in drop_ins(values)]
    own = [f"{FOLDER}/host-watch*", f"{FOLDER}/*.d/host-watch.conf", APT_FILE, "/var/lib/nous-vm", "/var/lib/nous-vm/watch"]
    apt = APT_TIMERS if values["host_watch_unattended_upgrades"] else ()
    return {
        "units": [TIMER, *apt, *(name for name in values["host_watch_units"] if not name.endswith("-"))],
        "matches": [BEFORE, PROGRAM, *values["host_watch_alert_command"][:1]],
        "paths": [*own, *folders],
    }


def judge(values: Values, host: Host) -> Iterator[Fault]:
    for program in values["host_watch_alert_command"][:1]:
        if not host["matches"][program]:
            yield Fault("host_watch_alert_command", f"names {program}, which is not on this host", "a program that is there", "/usr/bin/msmtp")


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    if host["units"][TIMER].get("ActiveState") != "active":
        yield Fault(TIMER, "is not active", "")
    if values["host_watch_unattended_upgrades"] and not (host["matches"][BEFORE] and host["matches"][PROGRAM]):
        yield Fault(PROGRAM, "is not there, or not by this role", "")


ROLE = Role("host_watch", OPTIONS, together=(command_is_a_path, reboots_for_upgrades), questions=questions, judge=judge, derive=derive, lacks=lacks)
