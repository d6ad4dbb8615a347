# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a release beside the server that runs, which it never touches. Nothing, if it is built already.

It is built from /etc/nous-vm/build.json, or from the file given with --config ("-": standard input), in a unit of its own.
--json prints {"changed", "release", "reason", "step"}, and "message" if there is no release: why, and the step that failed; nothing is left of it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import NousVmError, UsageError
from ..builder import build_here
from ..configuration import PATH, load
from ..unit import build

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm build git-0123456789ab-py3.13"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", help="its name, as the configuration has it")
    parser.add_argument("--config", default=str(PATH), metavar="FILE", help=f"what to build from, instead of {PATH}")
    parser.add_argument("--again", action="store_true", help="build it anew, though it is built or is known to fail")
    parser.add_argument("--here", action="store_true", help="in this process, which is a unit of its own already")


def run(arguments: argparse.Namespace) -> Result:
    configuration = load(arguments.config)
    if arguments.release != configuration.release:
        raise UsageError(f"{arguments.config} is for {configuration.release}, not for {arguments.release}")
    again = arguments.again
    document = build_here(configuration, again) if arguments.here else build(configuration, arguments.release, again)
    if reason := document.get("reason"):
        return Result(document | {"message": f"{reason}."}, f"{reason}.", NousVmError.exit_code)
    warning = f"; warning: {document['warning']}" if document.get("warning") else ""
    return Result(document, f"{arguments.release} {'is built' if document['changed'] else 'was built already'}{warning}")
