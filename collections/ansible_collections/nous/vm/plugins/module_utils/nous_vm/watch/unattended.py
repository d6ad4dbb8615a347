# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on unattended upgrades: that the distribution's own program is there, is started each day and did what it was to do."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from .. import times
from ..errors import ForeignError
from ..foreign import ANY, open_file, printable
from ..health import Row
from ..programs import run
from ..systemd import show_all
from .updates import LISTS

NAME = "unattended upgrades"
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
PROGRAM = Path("/usr/bin/unattended-upgrade")
OURS = Path("/etc/apt/apt.conf.d/52nous-vm-unattended-upgrades")
STAMP = Path("/var/lib/apt/periodic/upgrade-stamp")  # of the last run that ended well
LOG = Path("/var/log/unattended-upgrades/unattended-upgrades.log")
LATE = 3 * 86400.0  # seconds since the last run, since a boot and since it was configured
TAIL = 1 << 16  # bytes of the log that are read
BEGIN = "Starting unattended upgrades script"
LINE = re.compile(r"^[0-9-]{10} [0-9:,]{8,12} (ERROR|WARNING|INFO) (.*)$", re.MULTILINE)
OFF = {"0", "false", "no", "off", "disable"}
SETTINGS = ("APT::Periodic::Enable", "APT::Periodic::Update-Package-Lists", "APT::Periodic::Unattended-Upgrade")
DUMP = ["apt-config", "dump", "--no-empty", "--format=%F %v%n", *SETTINGS]
REBOOTS = ("Found ", "Shutdown msg")  # what it does about a reboot, which has a row of its own
SECURITY = "-security_"  # in the names of package lists
AGAIN = "sudo systemctl start apt-daily-upgrade.service"


def check() -> Row:
    """Return the row."""
    if problem := in_the_way():
        return Row(NAME, "fail", problem)
    at = STAMP.stat().st_mtime if STAMP.exists() else 0.0
    last = f"last run {times.iso(at)}" if at else "not yet"
    status, found = last_run()
    if found:
        return Row(NAME, status, f"{last}; {found}")
    if min(time.time() - max(at, OURS.stat().st_mtime), time.clock_gettime(time.CLOCK_BOOTTIME)) > LATE:
        return Row(NAME, "fail", f"{last}; {AGAIN}; journalctl --unit=apt-daily-upgrade.service")
    lists = os.listdir(LISTS) if LISTS.is_dir() else []
    if any(name.endswith("Release") for name in lists) and not any(SECURITY in name for name in lists):
        return Row(NAME, "warn", f"{last}; apt has no source of security updates, so that there is nothing to install; look at /etc/apt/sources.list.d")
    return Row(NAME, "ok", last)


def in_the_way() -> str:
    """Return why they are not run at all, and what to do; nothing if they are."""
    states = show_all(TIMERS, "ActiveState")
    if idle := [timer for timer in TIMERS if states[timer].get("ActiveState") != "active"]:
        return f"not started: {', '.join(idle)}; sudo systemctl enable --now {' '.join(idle)}"
    if absent := next((path for path in (PROGRAM, OURS) if not path.exists()), None):
        return f"{absent} is not there; run the site"
    off = turned_off()
    return f"{off} turns them off; look for who sets it: grep --recursive {off.split(' ')[0]} /etc/apt/apt.conf.d" if off else ""


def turned_off() -> str:
    """Return the setting of apt that turns them off, as it is in effect; nothing if none does."""
    found = dict(line.split(" ", 1) for line in run(DUMP, timeout=10).text.splitlines() if " " in line)
    return next((f"{name} {printable(found[name], 20)}" for name in SETTINGS if found.get(name, "1").lower() in OFF), "")


def last_run() -> tuple[str, str]:
    """Return status and text of what the last run had to complain of, or what it upgraded; nothing if it had nothing to do."""
    try:
        with open_file(LOG, ANY) as file:
            file.seek(max(file.seek(0, 2) - TAIL, 0))
            content = file.read(TAIL).decode("utf-8", "replace").rpartition(BEGIN)[2]
    except (OSError, ForeignError):
        return "ok", ""
    lines = [(kind, printable(text, 300)) for kind, text in LINE.findall(content)]
    lines = [(kind, text) for kind, text in lines if not text.startswith(REBOOTS)]
    for kind, status in (("ERROR", "fail"), ("WARNING", "warn")):
        if bad := [text for each, text in lines if each == kind]:
            return status, f"{bad[0]}; sudo less {LOG}; {AGAIN}"
    return "ok", ""
