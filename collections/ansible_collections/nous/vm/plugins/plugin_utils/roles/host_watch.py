# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role host_watch."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..kinds import NAME, PORT, absolute_path, choice, integer, text_line
from ..role import Host, Questions, Role, Values
from ..rules import LINE, Fault, List, Rule, Text

SUFFIXES = ("service", "socket", "timer", "path")  # of what can fail
UNIT = rf"[A-Za-z0-9:_.@\\-]{{1,200}}([.]({'|'.join(SUFFIXES)}|slice|target)|-)"
LOOPBACK = rf"http://(localhost|127[.]0[.]0[.]1|\[::1\])(:{PORT})?"
URL = rf"((https://[A-Za-z0-9.\[\]:-]+|{LOOPBACK})([/?][!-~]*)?)?"
FOLDER = "/etc/systemd/system"
TIMER = "host-watch.timer"


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
}


def command_is_a_path(values: Values) -> Iterator[Fault]:
    command = values["host_watch_alert_command"]
    if command and not re.fullmatch(rf"(/{NAME})+", command[0]):
        given = f"begins with {command[0][:80]!r}, and nobody looks for programs in a PATH"
        yield Fault("host_watch_alert_command", given, OPTIONS["host_watch_alert_command"].allowed, "[/usr/local/bin/alert, ops]")


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
    own = [f"{FOLDER}/host-watch*", f"{FOLDER}/*.d/host-watch.conf", "/var/lib/nous-vm", "/var/lib/nous-vm/watch"]
    return {
        "units": [TIMER, *(name for name in values["host_watch_units"] if not name.endswith("-"))],
        "matches": values["host_watch_alert_command"][:1],
        "paths": [*own, *folders],
    }


def judge(values: Values, host: Host) -> Iterator[Fault]:
    for program in values["host_watch_alert_command"][:1]:
        if not host["matches"][program]:
            yield Fault("host_watch_alert_command", f"names {program}, which is not on this host", "a program that is there", "/usr/bin/msmtp")


def lacks(_values: Values, host: Host) -> Iterator[Fault]:
    if host["units"][TIMER].get("ActiveState") != "active":
        yield Fault(TIMER, "is not active", "")


ROLE = Role("host_watch", OPTIONS, together=(command_is_a_path,), questions=questions, judge=judge, derive=derive, lacks=lacks)
