# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on checkpoints: that they are made and are signed, and that the log is what they signed.

It compares the bytes of the log alone, without its archives, with what of the checkpoints is at the end of their file; nous-vm audit verify reads everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import NousVmError
from ..events import TRAIL
from ..foreign import ANY, open_file, read_json
from ..health import Row, permissions, sandbox
from ..key.jwk import Jwk, KeyProblem
from ..key.jws import kid, verify
from ..systemd import show
from .chain import sha256
from .checkpoint import KIND, Checkpoint, Piece, checkpoint
from .configuration import FOLDER, Configuration
from .lines import complete, first_line, opened, tail
from .verify import checkpoints_of, keys
from .walk import Walk

SCORE = 0.5  # the most that systemd-analyze security may give the unit
LATE = 300  # seconds that a record may be there before it is signed: the timer runs each minute
RAN = ("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic")  # of a unit that runs the second is 0
LARGEST = 256 << 20  # bytes of a log that is read: the check has to end within its time


def settings(config: Configuration) -> dict[str, Any] | None:
    """Return what the role wrote of the checkpoints of a rotation: jwks, key, keep; None if it has none."""
    path = FOLDER / f"{config.name}.checkpoints"
    return read_json(path) if path.exists() else None


def rows(config: Configuration) -> Iterator[Row]:
    """Yield the rows, if checkpoints are made."""
    about = settings(config)
    if about is None:
        return
    yield Row("checkpoint key", *permissions(Path(about["key"]), "0600 root:root"))
    yield sandbox(f"audit-checkpoint-{config.name}.service", SCORE)
    path = TRAIL.with_name(checkpoints_of(config.name))
    try:
        found = _signed(path, keys(Path(about["jwks"])))
    except (NousVmError, OSError) as error:
        yield Row("checkpoints", "fail", f"{path}: {error}")
        return
    yield _age_row(config, found[-1])
    for name in config.files:
        yield _log_row(config.directory / name, found)


def _signed(path: Path, trusted: dict[str, Jwk]) -> list[Checkpoint]:
    """Return the checkpoints at the end of the file, the last of which is signed. Raises NousVmError."""
    with open_file(path, ANY) as file:
        lines, _others = tail(file)
    found, problem = [], "there is none"
    for line in lines[:-1]:
        token = line.decode("ascii", "replace")
        try:
            name = kid(token)
            if name not in trusted:
                raise KeyProblem(f"is signed by a key that is not published: {name[:100]}")
            found.append(checkpoint(verify(token, trusted[name], KIND)))
            problem = ""
        except (NousVmError, KeyProblem) as error:
            problem = f"the last line {error}"
    if problem:
        raise NousVmError(problem)
    return found


def _age_row(config: Configuration, last: Checkpoint) -> Row:
    """Return the row on whether what is new is signed in time."""
    unit = f"audit-checkpoint-{config.name}"
    timer, service = show(f"{unit}.timer", "ActiveState"), show(f"{unit}.service", "Result", *RAN)
    age = time.monotonic() - max(int(service.get(name) or 0) for name in RAN) / 1e6
    waiting = [name for name in config.files if _has_more(config.directory / name, last.logs.get(name))]
    detail = f"the last is {last.label}"
    if timer.get("ActiveState") != "active":
        return Row("checkpoints", "fail", f"{detail}; the timer {unit}.timer is {timer.get('ActiveState')}")
    if service.get("Result") != "success":
        return Row("checkpoints", "fail", f"{detail}; the run after it ended with {service.get('Result')}: journalctl --unit={unit}")
    if waiting and age > LATE:
        return Row("checkpoints", "fail", f"{detail}; for {age / 60:.0f} min nothing has signed what {', '.join(waiting)} got since")
    return Row("checkpoints", "ok", detail)


def _has_more(path: Path, signed: Piece | None) -> bool:
    """Tell whether a log has more than was signed of it, or something else."""
    with opened(path) as log:
        end = complete(log)
        return bool(end) and (signed is None or (signed.segment, signed.size) != (sha256(first_line(log)), end))


def _log_row(path: Path, found: list[Checkpoint]) -> Row:
    """Return the row on whether a log is what was signed of it."""
    name = f"{path.name} as signed"
    if path.stat().st_size > LARGEST:
        return Row(name, "unknown", f"has more than {LARGEST >> 20} MiB: sudo nous-vm audit verify reads all of it")
    with opened(path) as file:
        before = sha256(first_line(file))
    walk = Walk(path.name, [path], lambda _head: None, links=False)
    for each in found:
        if path.name in each.logs and each.logs[path.name].segment == before:
            walk.meet(each.logs[path.name], each.label)
    walk.finish(None)
    with opened(path) as file:
        if sha256(first_line(file)) != before:
            return Row(name, "unknown", "it was rotated while it was read")
    if walk.part.fault:
        return Row(name, "fail", walk.part.line().removeprefix("BROKEN  "))
    return Row(name, "ok", f"{walk.compared} checkpoints compared, {walk.newer} records are newer" if walk.compared else "no checkpoint is of it yet")
