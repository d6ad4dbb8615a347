# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send standard input to a URL that this unit has as a credential. The units of host-watch do it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...cli import Result
from .. import configuration, post

if TYPE_CHECKING:
    import argparse

INTERNAL = True
MOST = 1 << 20  # bytes of a message


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, choices=(configuration.ALERT_URL, configuration.HEARTBEAT_URL), help="the name of the credential")
    parser.add_argument("--type", required=True, help="the Content-Type of what is sent")


def run(arguments: argparse.Namespace) -> Result:
    post.post(post.url(arguments.url), arguments.type, sys.stdin.buffer.read(MOST))
    return Result({})
