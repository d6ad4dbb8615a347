# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign how far the logs of a rotation have come: a checkpoint for each minute in which something is new, and for each rotation.

It is what the unit audit-checkpoint-NAME.service runs, with the files that systemd opened for it (OpenFile=) and the keys that it gets as credentials.
Each checkpoint is appended to the file of checkpoints, and printed for the journal.

--json prints {"checkpoints": [token]}.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...cli import Result
from ...errors import NousVmError, UsageError
from ...foreign import read_file
from ...key import jwk
from ...key.jws import Signer
from ...machine import SIZE, is_container, machine, parsed

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo systemctl start audit-checkpoint-nous.service"
FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
TRAIL, CHECKPOINTS, APPEND = "trail", "checkpoints", "append"
PRODUCT = "product-uuid"  # which root alone may open


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", action="append", required=True, metavar="NAME", help="a log, by the name of its descriptor; its archives are NAME.1 and so on")
    parser.add_argument("--key", required=True, metavar="NAME", help="the credential that is the key to sign with")


def run(arguments: argparse.Namespace) -> Result:
    from ..signing import Files, Rotated, make

    if jwk.CRYPTOGRAPHY_ERROR:
        raise NousVmError("checkpoints cannot be signed without python3-cryptography; run the playbook site to install it")
    given = _descriptors()
    if missing := {*arguments.log, CHECKPOINTS, APPEND} - given.keys():
        raise UsageError(f"no descriptor is named {', '.join(sorted(missing))}: this runs in the unit audit-checkpoint-NAME.service alone")
    logs = {name: [_file(given[name], name), *(_file(each, other) for other, each in given.items() if _is_archive(other, name))] for name in arguments.log}
    trail = _file(given[TRAIL], TRAIL) if TRAIL in given else None
    files = Files(logs, trail, _file(given[CHECKPOINTS], CHECKPOINTS), given[APPEND])
    try:
        signers = _signers()
        if arguments.key not in signers:
            raise UsageError(f"there is no credential {arguments.key}; there are: {', '.join(signers) or 'none'}")
        made = list(make(files, {each.kid: each for each in signers.values()}, signers[arguments.key], _machine(given)))
    except Rotated as why:  # the end of that rotation starts the next run
        return Result({"checkpoints": []}, f"nothing is signed: {why}")
    except jwk.KeyProblem as problem:
        raise NousVmError(f"the key of the checkpoints {problem}") from None
    return Result({"checkpoints": made}, "\n".join(made))


def _descriptors() -> dict[str, int]:
    """Return the descriptors that systemd opened, by their names."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: FIRST_DESCRIPTOR + number for number, name in enumerate(names)}


def _machine(given: dict[str, int]) -> dict[str, str]:
    """Return the names of this machine."""
    found = machine()
    if PRODUCT in given and not found.product_uuid and not is_container():
        found = found._replace(product_uuid=parsed(os.read(given[PRODUCT], SIZE)))
    return found.names()


def _is_archive(name: str, log: str) -> bool:
    return name.startswith(f"{log}.") and name.removeprefix(f"{log}.").removesuffix(".gz").isdecimal()


def _file(descriptor: int, name: str) -> BinaryIO:
    import gzip
    from typing import cast

    file = os.fdopen(descriptor, "rb")
    return cast("BinaryIO", gzip.GzipFile(fileobj=file)) if name.endswith(".gz") else file


def _signers() -> dict[str, Signer]:
    """Return the keys by the names of their credentials."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
    return {path.name: Signer(read_file(path)) for path in sorted(folder.glob("*.pem"))}
