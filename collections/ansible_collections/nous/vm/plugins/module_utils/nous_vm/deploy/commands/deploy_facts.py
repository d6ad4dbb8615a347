# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the local facts of the server, for Ansible: what is built and deployed here. They are JSON in any case."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...build.configuration import load as load_build
from ...cli import Result
from ..configuration import load
from ..facts import facts

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Result:
    about = load()
    document = facts(str(about.root), load_build().python, about.user, about.group, about.check["socket_group"], about.address)
    return Result(document, "" if arguments.json else json.dumps(document))
