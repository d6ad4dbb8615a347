# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's resources as pyinfra deploys them: packages, the account, files and services, as resources.json beside this deploy's data lists them.

Written to make pyinfra win: its own operations, each with the arguments that cost least. Nothing is rendered, because the contents are there already;
folders are not looked at; no operation waits for another; pyinfra's run skips its preparing pass (rival.py calls it with --yes).
"""

from __future__ import annotations

import json
from pathlib import Path

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

resources = json.loads(Path(host.data.resources).read_text(encoding="utf-8"))

apt.packages(packages=resources["packages"])
server.user(user=resources["account"]["name"], home=resources["account"]["home"], shell=resources["account"]["shell"], ensure_home=False, system=True)
for file in resources["files"]:
    files.put(
        src=file["content"],
        dest=file["path"],
        user=file["owner"],
        group=file["group"],
        mode=file["mode"],
        create_remote_dir=False,
        add_deploy_dir=False,
    )
for unit in resources["units"]:
    systemd.service(service=unit, running=True, enabled=True)
