# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: no answer that was not recorded. It keeps room for the log, hears what the watcher sees, and rejects traffic while either is not as it has to be.

What may have cost a record is over only when the server was started anew, because it keeps the head of its chain in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from pathlib import Path
from typing import Any

from .. import events, inodes, locks, pause
from ..atomic import read_json, write_json
from ..errors import ForeignError, NousVmError
from ..foreign import parse_json, printable
from ..names import RUNTIME, names
from ..systemd import systemctl
from .answers import Answers, Calls
from .archives import archives
from .configuration import Configuration
from .links import own_hash
from .log import Log, logs_of
from .mend import mended_file
from .records import last_record
from .room import fault, renew
from .speed import largest
from .watch import ACCEPT, REPORT

POLL = 0.25  # seconds between two looks at the room; what the watcher tells is heard at once
ASK = 1.0  # seconds after which the watcher is asked for all that it knows, and the proxy for what it saw answered
SILENT = 5.0  # seconds after which a watcher that tells nothing is none
PASSING = 0.5  # seconds for which a rotation, or its end, may be the reason of what is seen
BETWEEN = 30.0  # seconds between two attempts to mend, or to rotate a log that is too large
ATTEMPTS = 3  # of mending, in a row
DEPLOYMENT = "deployment"  # the lock of whoever stops and starts the server
MESSAGE = 4096  # bytes of what the watcher tells
CALLED = 10  # calls that are answered without a record until it counts that nobody holds the log: those that the server declines have none
DRAINED = 10.0  # seconds for calls under way to end, before it is told how many had no record
LOSING = {"links", "torn", "read-only", "error", "unheld", "lost"}  # kinds of faults that may have cost a record
MENDED = {"links", "torn", "unheld", "lost"}  # and those that mending ends


def state_file(name: str) -> Path:
    """Return where a guard writes what it sees, for the health check."""
    return RUNTIME / f"audit-{name}.json"


class Guard:
    """The guard of one rotation's logs."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self.logs = logs_of(config)
        self.watcher: socket.socket | None = None
        self.heard = time.monotonic()
        self.told: dict[str, str] = {}
        self.passing = 0.0  # since when something is seen that a rotation may be the reason of
        self.room: dict[str, str] = {}
        self.asked = 0.0
        self.answers = Answers(answered)
        self.well = 0.0  # when the watcher saw all well last
        self.rejected = 0.0  # when traffic was rejected, until it is told how many answers had left by then
        # When something was seen that may have cost a record. A guard that is started anew has not forgotten it.
        self.lost = known(config.name)
        self.attempts: list[float] = []
        self.large = -BETWEEN
        self.state: dict[str, Any] = {}

    def turn(self) -> None:
        """Look once, and act."""
        self._ask()
        self._hear()
        now = time.monotonic()
        texts = [text for log in self.logs if (text := fault(log, renew(log)))]
        self.room = {"room": "; ".join(texts)} if texts else {}
        self._rotate_large(now)
        faults = self._faults(now)
        if set(faults) & LOSING:
            self.lost = self.lost or time.time()
        elif self.lost and mended(self.config.name) > self.lost:
            self.lost = 0.0
        if self.lost:
            faults.setdefault("lost", "a record may be lost: the server is to be started anew")
        self._act(faults)
        self._tell_unrecorded()
        if self.lost and set(faults) <= MENDED and self.config.guard == "enforce":
            self._mend(now)

    def _ask(self) -> None:
        """Ask from time to time what was answered, and then what was recorded."""
        self.watcher = self.watcher or connected(watcher_socket(self.config.name))
        now = time.monotonic()
        if now - self.asked < ASK:
            return
        self.asked = now
        self.answers.count()
        if self.watcher:
            with contextlib.suppress(OSError):
                self.watcher.send(REPORT)

    def _hear(self) -> None:
        """Take what the watcher tells, without waiting for it longer than until the next look."""
        if not self.watcher:
            time.sleep(POLL)
        elif select.select([self.watcher], [], [], POLL)[0]:
            message = b""
            with contextlib.suppress(OSError):
                message = self.watcher.recv(MESSAGE)
            if not message:
                self.watcher.close()
                self.watcher = None
                return
            self.heard = time.monotonic()
            with contextlib.suppress(ForeignError, ValueError, KeyError, TypeError, AttributeError):
                told = parse_json(message, "the watcher")
                self.told = {str(kind): printable(str(text)) for kind, text in told["faults"].items()}
                self.well = float(told["well"])
                self.answers.told(int(told["records"]), not self.told and not self.lost)

    def _faults(self, now: float) -> dict[str, str]:
        """Return all that is wrong, but for what a rotation does to the log."""
        faults = self.told | self.room
        if now - self.heard > SILENT:
            faults["silent"] = "nobody watches the log"
        if (self.answers.since_record or 0) >= CALLED and not any(inodes.written(log.live) for log in self.logs):
            faults["unheld"] = f"{self.answers.since_record} calls were answered since the last record, and nobody holds the log open to write another"
        if not {"flag", "cut"} & set(faults):
            self.passing = 0.0
            return faults
        if locks.holder(f"rotation-{self.config.name}"):
            self.passing = now
        self.passing = self.passing or now
        if now - self.passing < PASSING:
            faults.pop("flag", None)
        if "cut" in faults and all(links_to_archive(log) for log in self.logs if archives(log)):
            faults.pop("cut")
            if self.watcher:
                with contextlib.suppress(OSError):
                    self.watcher.send(ACCEPT)
        elif "cut" in faults and now - self.passing >= PASSING:
            faults["links"] = faults.pop("cut")
        else:
            faults.pop("cut", None)
        return faults

    def _act(self, faults: dict[str, str]) -> None:
        """Reject traffic, or let it through again; then tell of a change."""
        leave = pause.unaudited()
        rejects = bool(faults) and self.config.guard == "enforce" and leave is None
        paused = any(each.owner == pause.GUARD for each in pause.reasons())
        if rejects != paused:
            if rejects:
                pause.add(pause.GUARD, f"answers would not be recorded: {'; '.join(faults.values())}", reject=True)
            else:
                pause.clear(pause.GUARD)
            apply_pause()
            self.rejected = time.monotonic() if rejects and self.lost else 0.0
        state = {"faults": faults, "rejects": rejects, "calls": self.answers.since_record, "lost": self.lost}
        if state == self.state:
            return
        before, self.state = self.state.get("faults"), state
        write_json(state_file(self.config.name), state)
        if (faults or before) and set(faults) != set(before or ()):
            result = "failed" if faults else "done"
            events.record("audit guard", result, faults="; ".join(faults.values()) or "none", traffic="rejected" if rejects else "flows")

    def _tell_unrecorded(self) -> None:
        """Record how many answers left without a record between the last look that saw all well and the rejection, once none is under way."""
        if not self.rejected:
            return
        self.answers.count()
        calls, left = self.answers.now, self.answers.unrecorded()
        if calls and calls.under_way and time.monotonic() - self.rejected < DRAINED:
            return
        milliseconds = round((self.rejected - self.well) * 1000)
        events.record("answers without a record", "not counted" if left is None else f"at most {left}", milliseconds=milliseconds)
        self.rejected = 0.0

    def _mend(self, now: float) -> None:
        """Have the torn record cut and the server started anew; after some attempts in a row it is for a person to do."""
        self.attempts = [at for at in self.attempts if now - at < ATTEMPTS * 2 * BETWEEN]
        if len(self.attempts) >= ATTEMPTS or (self.attempts and now - self.attempts[-1] < BETWEEN) or locks.holder(DEPLOYMENT):
            return
        self.attempts.append(now)
        systemctl("start", f"audit-logrotate-{self.config.name}-mend.service")
        if mended(self.config.name) > self.lost:  # what the watcher told before is not so any more
            self.told = {}
            self.answers.forget()
            self.heard = time.monotonic()

    def _rotate_large(self, now: float) -> None:
        """Rotate a log before its time whose cut would take too long."""
        if now - self.large < BETWEEN:
            return
        if any(log.live.stat().st_size > largest(log) for log in self.logs):
            self.large = now
            systemctl("start", "--no-block", f"audit-logrotate-{self.config.name}.service")


def connected(path: Path) -> socket.socket | None:
    """Return a connection to the watcher; None if it does not listen."""
    watcher = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        watcher.connect(str(path))
    except OSError:
        watcher.close()
        return None
    return watcher


def known(name: str) -> float:
    """Return when the guard before this one saw something that may have cost a record, in seconds since the epoch; 0 if it did not, or that was mended."""
    try:
        return float(read_json(state_file(name))["lost"])
    except (KeyError, TypeError, ValueError):
        return 0.0


def mended(name: str) -> float:
    """Return when the log was mended last within this boot, in seconds since the epoch; 0 if it was not."""
    try:
        return mended_file(name).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def watcher_socket(name: str) -> Path:
    """Return where the watcher listens."""
    return Path(f"/run/audit-logrotate-{name}-watch/socket")


def links_to_archive(log: Log) -> bool:
    """Tell whether the first record of a log links to the last of its newest archive, as a rotation leaves them."""
    try:
        with open(log.live, "rb") as live:
            first = json.loads(live.readline(1 << 20))
        with open(archives(log)[0], "rb") as archive:
            size = os.fstat(archive.fileno()).st_size
            start = last_record(archive.fileno(), size)
            return bool(own_hash(os.pread(archive.fileno(), size - start, start)) == first["prev_hash"])
    except (OSError, ValueError, IndexError, KeyError, TypeError, NousVmError):
        return False


def apply_pause() -> None:
    """Have the local proxy act on the reasons of a pause, where there is one."""
    try:
        from ..deploy import traffic
        from ..deploy.proxy import Proxy
    except ImportError:  # this role serves alone too
        return
    with contextlib.suppress(OSError):
        traffic.apply(Proxy(names().proxy_admin))


def answered() -> Calls:
    """Return what the local proxy saw answered. Raises OSError where there is none."""
    try:
        from ..deploy.proxy import Proxy
    except ImportError:
        raise OSError("there is no local proxy") from None
    return Calls(*Proxy(names().proxy_admin).calls())
