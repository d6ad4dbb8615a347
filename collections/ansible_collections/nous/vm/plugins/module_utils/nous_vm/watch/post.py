# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One message by HTTP, in the unit that has the URL: tried a few times, within one deadline, no redirect followed, and no word of the URL printed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from .. import peers
from ..errors import ForeignError, NousVmError, UsageError
from ..foreign import printable, read_file

PAUSES = (0.0, 2.0, 8.0)  # seconds before each attempt
ATTEMPT = 12.0  # seconds for one
ANSWER = 1 << 16  # bytes of an answer
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def url(name: str) -> SplitResult:
    """Return the URL that systemd handed to this unit. Raises UsageError, which does not show it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise UsageError("there is no credential; only the units of host-watch send")
    found = urlsplit(read_file(Path(folder, name)).decode("ascii", "replace").strip())
    if not found.hostname or (found.scheme != "https" and not (found.scheme == "http" and found.hostname in LOOPBACK)):
        raise UsageError(f"the {name} is no https URL")
    return found


def connect(target: SplitResult) -> Callable[[float], socket.socket]:
    """Return a function that connects to where a URL leads, and to nowhere else."""
    host, secure = str(target.hostname), target.scheme == "https"
    plain = peers.tcp(host, target.port or (443 if secure else 80))
    return peers.tls(plain, host) if secure else plain


def post(target: SplitResult, kind: str, content: bytes, pauses: tuple[float, ...] = PAUSES, attempt: float = ATTEMPT) -> None:
    """Send a message until it is taken; raise NousVmError with why it is not. Only what may be over in a moment is tried again."""
    reason, path, headers = "", _path(target), _headers(target, kind)
    for pause in pauses:
        time.sleep(pause)
        try:
            answer = peers.ask(connect(target), "POST", path, headers=headers, body=content, timeout=attempt, limit=ANSWER, head_only=True)
        except (OSError, ForeignError) as error:
            reason = f"it cannot be reached: {printable(str(error))}"
            continue
        if 200 <= answer.status < 300:
            return
        reason = f"it answers {answer.status}"
        if 300 <= answer.status < 400:
            raise NousVmError(f"{reason}, a redirect, and none is followed: set the URL that it leads to")
        if answer.status not in (408, 429) and answer.status < 500:
            raise NousVmError(reason)
    raise NousVmError(reason)


def _path(target: SplitResult) -> str:
    return f"{target.path or '/'}{f'?{target.query}' if target.query else ''}"


def _headers(target: SplitResult, kind: str) -> dict[str, str]:
    name = f"[{target.hostname}]" if ":" in str(target.hostname) else str(target.hostname)
    return {"Host": f"{name}:{target.port}" if target.port else name, "Content-Type": kind, "User-Agent": "nous-vm"}
