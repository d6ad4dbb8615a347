# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds HOST:PORT, if not the unit that may, and how many MiB are free where DIRECTORY is or will be.

Arguments: HOST:PORT UNIT DIRECTORY. Prints one JSON document. Changes nothing.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path


def taken(address, unit):
    """Return the name of the program that listens on an address, or None if it is free or held by the unit itself."""
    host, port = address.rsplit(":", 1)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            pass
        else:
            return None
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and int(line[1].rsplit(":", 1)[1], 16) == int(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in process.glob("fd/*")):
                mine = f"/{unit}" in (process / "cgroup").read_text()
                return None if mine else f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return "another program"


def main():
    """Print what was found."""
    address, unit, directory = sys.argv[1:]
    place = Path(directory)
    while not place.exists():
        place = place.parent
    print(json.dumps({"taken": taken(address, unit), "free": shutil.disk_usage(place).free // 2**20}))


main()
