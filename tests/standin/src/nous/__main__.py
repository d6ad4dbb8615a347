# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m nous serve` and `python -m nous flush`."""

import argparse
import signal
import sys

from pydantic import ValidationError

from nous.audit import AuditLog
from nous.release import FAULT, VERSION
from nous.settings import Settings
from nous.state import State


def serve(settings: Settings) -> None:
    if settings.transport == "stdio":
        from nous.server import build_stdio

        build_stdio(settings).run("stdio")
        return
    if FAULT == "crash":
        sys.exit("nous: this release is broken on purpose: it crashes at start")
    while FAULT == "hang":
        signal.pause()

    import uvicorn

    from nous.server import build

    uvicorn.run(build(settings), host=settings.bind_host, port=settings.bind_port)


def flush(settings: Settings) -> None:
    State(settings.home).checkpoint()
    AuditLog(settings.audit_file).sync()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nous", description=__doc__)
    parser.add_argument("--version", action="version", version=f"nous {VERSION}")
    parser.add_argument("command", choices=["serve", "flush"])
    command = parser.parse_args().command
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"nous: NOUS_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()))
    {"serve": serve, "flush": flush}[command](settings)


if __name__ == "__main__":
    main()
