# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operation runs in a unit of its own, so that it ends, or rolls back, though the connection of whoever asked for it does not last."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from ..cli import Result
from ..errors import InterruptedWork, LockedError, NousVmError, UsageError
from ..events import record
from ..foreign import printable
from ..locks import CONNECTION, LOCAL, held, origin, whoever
from ..names import COMMAND
from ..programs import run
from ..systemd import transient
from .configuration import LOCK
from .deployment import FAILURES, Deployment
from .service import Service

NOTHING = {"changed": False}  # what recover prints if nothing was interrupted
LONGEST = 7200.0  # seconds that whoever asked waits: a build, and a candidate with its copies and its rollback
EVENTS = {"deploy": "deployed", "rollback": "rolled back", "restore": "restored", "restart": "restarted"}
INTERRUPTED = {"changed": True, "reason": "it was interrupted", "rollback": "recover saw to it before the server's next start", "journal": []}


def in_unit(service: Service, words: list[str]) -> dict[str, Any]:
    """Run a command of nous-vm in a unit of its own, after which recover comes, whatever ended it; return its document."""
    # Stopped, or too late, it rolls back itself: what it runs for that is left alone.
    how = [f"ExecStopPost={COMMAND} recover --json", f"OnFailure={service.names.recover}", "KillMode=mixed"]
    how += ["TimeoutStopSec=15min", f"RuntimeMaxSec={LONGEST:g}"]
    person = {"SUDO_USER": whoever(), **({CONNECTION: place} if (place := origin()) != LOCAL else {})}
    argv = transient(f"nous-vm-{words[0]}-{os.getpid()}", how, [COMMAND, *words, "--here", "--json"], environment=person)
    done = run(argv, timeout=LONGEST)
    found = documents(done.text)
    for error in (UsageError, LockedError):
        if done.returncode == error.exit_code:
            raise error(found[0]["message"] if found else done.complaint)
    # A recovery that fails prints a message alone.
    first, *rest = [each for each in found if "changed" in each and each != NOTHING] or [INTERRUPTED]
    if first is INTERRUPTED and service.configuration.journal.exists():
        raise InterruptedWork("it was interrupted; nous-vm recover completes it")
    if first.get("rollback") or not rest:
        return first
    return first | {"rollback": next((each["rollback"] for each in rest if each.get("rollback")), None)}


def documents(text: str) -> list[dict[str, Any]]:
    """Return the JSON documents that stand one after the other."""
    decoder, found = json.JSONDecoder(), []
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def here(service: Service, words: list[str], operation: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in this process, alone; whatever was interrupted before comes first. Record what came of it and return the document."""
    with held(LOCK, " ".join(words)):
        try:
            if service.configuration.journal.exists():
                Deployment(service).recover()
            document = operation()
        except UsageError:
            raise
        except FAILURES as error:
            document = {"changed": False, "reason": str(error), "rollback": None, "journal": []}
    if document.get("changed") or document.get("reason"):
        about = {key: document.get(key) for key in ("release", "previous", "rollback")}
        record(EVENTS[words[0]], "failed" if document.get("reason") else "done", why=document.get("reason"), **about)
    return document


def result(document: dict[str, Any], text: str) -> Result:
    """Return what a command prints: TEXT if it went well, else why it did not."""
    if not document.get("reason"):
        return Result(document, text)
    sentence = message(document)
    return Result(document | {"message": sentence}, sentence, NousVmError.exit_code)


def message(document: dict[str, Any]) -> str:
    """Return in one sentence what went wrong, with the last lines of the server's journal."""
    sentence = f"{document['reason']}."
    if release := document.get("release"):
        sentence = f"{release} is not deployed: {document['reason']}; {document.get('rollback') or 'there is no other release to roll back to'}."
    lines = " | ".join(printable(line) for line in document.get("journal") or [])
    return f"{sentence} Last lines of its journal: {lines}" if lines else sentence
