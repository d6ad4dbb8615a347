# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this host in its expected state? A row for each thing that is looked at.

ok: as expected. warn: as expected, but a person should look. unknown: cannot be probed from here. fail: not as expected.
--json prints {"healthy": bool, "rows": [{"part", "name", "status", "detail"}]}, and "message" if it is not healthy. --prometheus prints metrics instead.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ..cli import Result, only_root
from ..errors import UsageError
from ..health import document, parts, run_parts, table

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prometheus", action="store_true", help="print metrics in the text format of Prometheus")


def run(arguments: argparse.Namespace) -> Result:
    only_root("sees enough to tell")
    begun = time.monotonic()
    found = run_parts(parts())
    if not found:
        raise UsageError("there is nothing to check: no role of nous.vm has run here")
    about = document(found)
    if arguments.prometheus:
        from .. import metrics

        samples = [*metrics.of_check(found, time.monotonic() - begun, time.time()), *metrics.of_parts()]
        return Result(about, metrics.text(samples).rstrip("\n"))
    return Result(about, table(found, sys.stdout.isatty()), 0 if about["healthy"] else 1)
