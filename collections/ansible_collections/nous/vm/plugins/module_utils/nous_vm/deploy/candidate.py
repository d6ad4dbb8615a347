# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal: a candidate is seen to work over standard input and output while the server before it goes on.

It runs in a transient unit with the directives of the server's own, on a copy of the database and on an audit log of its own, which lie where it looks for the
real ones. Nobody signs in there: MCP over stdio knows no tokens, so a tool can be called.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..atomic import write
from ..errors import ForeignError, NousVmError
from ..foreign import parse_json, printable, read_file
from ..names import Names
from ..programs import Dialogue
from ..systemd import systemctl, transient
from .configuration import Configuration
from .migration import migrate
from .server import INITIALIZE

TOOL = "device_info"  # of nous: it changes nothing
# Since 2026-07-28 MCP knows no session: server/discover takes the place of initialize, and every request says what that said once.
SUCCESSOR = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": INITIALIZE["capabilities"],
    "io.modelcontextprotocol/clientInfo": INITIALIZE["clientInfo"],
}
LINES = 3  # of what it printed last, to tell why it failed
PRINTED = 4 << 20  # bytes that it may answer in all
AUDIT = 1 << 20  # bytes of its audit log that are read
# What makes a unit a service; all else is its sandbox, its account and its environment. Where it may write is another place here.
DROPPED = {
    *("Type", "ExecStart", "ExecStop", "ExecStopPost", "Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "TimeoutStopSec"),
    *("RootDirectoryStartOnly", "LogFilterPatterns", "BindPaths"),
}

# To systemd-run 257, though systemd knows it.
UNKNOWN = {"ProtectControlGroups=strict": "ProtectControlGroups=yes", "PrivateTmp=disconnected": "PrivateTmp=yes"}


class Rehearsal:
    """A candidate, and the folder with what it may change."""

    def __init__(self, configuration: Configuration, names: Names, release: str, unit: Path) -> None:
        self.configuration, self.names, self.release = configuration, names, release
        text = read_file(unit).decode().partition("[Service]")[2].partition("\n[")[0]
        self.directives = [(name, value) for name, _equals, value in (line.partition("=") for line in text.splitlines()) if value and name[0].isalpha()]
        self.folder = configuration.root / "candidate"
        places = [Path(place) for name, value in self.directives if name == "BindPaths" for place in value.split()]
        self.places = {place: self.folder / str(number) for number, place in enumerate(places)}

    def at(self, path: Path) -> Path | None:
        """Return where a file lies that the candidate sees at a path, None if it cannot write there."""
        found = [place for place in self.places if place in path.parents]
        place = max(found, key=lambda each: len(each.parts), default=None)
        return None if place is None else self.places[place] / path.relative_to(place)

    @property
    def audit(self) -> Path | None:
        """The audit log of the candidate."""
        return self.at(self.configuration.audit)

    def prepare(self, copy: Callable[[Path], None] | None) -> None:
        """Make what the candidate may change; COPY writes a copy of the database to a new file. Raises OSError, NousVmError."""
        self.clear()
        self.folder.mkdir(mode=0o700)
        environment = "NOUS_TRANSPORT=stdio\n"
        made = [*self.places.values()]
        for folder in made:
            folder.mkdir(mode=0o700)
        database = self.configuration.database and self.at(self.configuration.database)
        if database is None:
            environment += "NOUS_DB_URL=\n"  # one that is elsewhere is nothing to rehearse with
        elif copy:
            copy(database)
            made.append(database)
        if self.audit:
            write(self.audit, b"")
            made.append(self.audit)
        for path in made:
            shutil.chown(path, self.configuration.user, self.configuration.group)
        write(self.folder / "environment", environment.encode())

    def clear(self) -> None:
        """Remove what an earlier candidate left, and its process."""
        systemctl("stop", self.names.candidate)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def properties(self) -> Iterator[str]:
        """Yield the properties of the candidate's unit."""
        kept = (f"{name}={value}" for name, value in self.directives if name not in DROPPED)
        yield from (UNKNOWN.get(each, each) for each in kept)
        yield from (f"BindPaths={made}:{place}" for place, made in self.places.items())
        yield f"EnvironmentFile={self.folder}/environment"
        yield from ("PrivateNetwork=yes", "KillSignal=SIGKILL", "SuccessExitStatus=SIGKILL")

    def migrate(self, command: list[str], timeout: float) -> str | None:
        """Move the copy of the database to the release; return why that failed."""
        binds = [f"BindPaths={made}:{place}" for place, made in self.places.items()]
        return migrate(self.configuration, self.names, self.release, command, binds, timeout)

    def talk(self, timeout: float) -> str | None:
        """Start the candidate and talk to it; return what is wrong with it."""
        argv = [word for name, value in self.directives if name == "ExecStart" for word in shlex.split(value)]
        properties = [*self.properties(), f"RuntimeMaxSec={timeout:g}"]
        with Dialogue(transient(self.names.candidate, properties, argv), timeout=timeout, limit=PRINTED) as dialogue:
            session = Session(dialogue)
            try:
                return self.calls(session)
            except (Unwell, ForeignError) as error:
                reason = str(error)
            except TimeoutError:
                reason = f"it did not answer {session.asked} within {timeout:.0f} s"
            printed = dialogue.complaint(LINES)
        if printed.startswith("Failed to "):
            raise NousVmError(f"{self.names.candidate} cannot be started: {printed}")
        return f"{reason}: {printed}" if printed else reason

    def calls(self, session: Session) -> str | None:
        """Have the candidate do what a client asks for; return what is missing. Raises Unwell, TimeoutError, ForeignError."""
        session.begin()
        tools = session.ask("tools/list", {}).get("tools")
        if not isinstance(tools, list) or not tools:
            return "it has no tools"
        wanted = self.configuration.health_tool
        if not any(isinstance(each, dict) and each.get("name") == (wanted or TOOL) for each in tools):
            return f"it has no tool {wanted}" if wanted else None
        if session.ask("tools/call", {"name": wanted or TOOL, "arguments": {}}).get("isError"):
            return f"its tool {wanted or TOOL} fails"
        return None if self.recorded(wanted or TOOL) else f"it wrote no record of the call of {wanted or TOOL} to its audit log"

    def recorded(self, tool: str) -> bool:
        """Tell whether the candidate's audit log has a record of a tool's call; one that is nowhere is not looked for."""
        if self.audit is None:
            return True
        try:
            lines = read_file(self.audit, AUDIT).splitlines()
        except OSError:
            return False
        return any(parse_json(line, "its audit log").get("tool") == tool for line in lines)


class Unwell(Exception):
    """What a candidate did wrong, as a sentence without its subject's name."""


class RejectedError(Unwell):
    """It answered a request with an error."""


class Session:
    """A session of MCP over a dialogue: JSON-RPC, a message a line."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue, self.asked, self.number = dialogue, "", 0
        self.common: dict[str, Any] = {}  # what is in every request

    def begin(self) -> None:
        """Introduce a client, in the way that the server knows. Raises Unwell, TimeoutError, ForeignError."""
        try:
            self.ask("initialize", INITIALIZE)
        except RejectedError as error:
            self.common = {"_meta": SUCCESSOR}
            try:
                self.ask("server/discover", {})
            except RejectedError:
                raise error from None  # it is none of either kind
        else:
            self.tell("notifications/initialized")

    def tell(self, method: str) -> None:
        """Send a notification, which has no answer."""
        self.dialogue.send(json.dumps({"jsonrpc": "2.0", "method": method}).encode())

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its result. Raises Unwell, TimeoutError, ForeignError."""
        self.asked, self.number = method, self.number + 1
        self.dialogue.send(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": parameters | self.common}).encode())
        while (line := self.dialogue.line()) is not None:
            try:
                message = parse_json(line, "its answer")
            except ForeignError:  # a library that prints
                continue
            if message.get("id") != self.number:
                continue
            result = message.get("result")
            if isinstance(result, dict):
                return result
            raise RejectedError(f"it answers {method} with {printable(json.dumps(message.get('error')))}")
        raise Unwell(f"it ended before it answered {method}")


def unhealthy(configuration: Configuration, names: Names, release: str, *, unit: Path, migration: list[str], copy: Callable[[Path], None] | None) -> str | None:
    """Rehearse a release; return why it is not fit to be deployed, None if it is. One deadline, configuration.timeout, for all that the release does.

    unit: the file with the text of the server's unit. migration: the command that moves its data. copy: writes a copy of the database to a new file.
    Raises OSError, NousVmError for what is no fault of the release.
    """
    rehearsal = Rehearsal(configuration, names, release, unit)
    try:
        rehearsal.prepare(copy)
        deadline = time.monotonic() + configuration.timeout
        if migration and (reason := rehearsal.migrate(migration, configuration.timeout)):
            return reason
        reason = rehearsal.talk(max(deadline - time.monotonic(), 1))
        return f"over stdio, {reason}" if reason else None
    finally:
        rehearsal.clear()
