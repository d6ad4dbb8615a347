# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment: stop the server, start the candidate, and keep it or roll back.

While there is a candidate the local proxy keeps clients waiting and only the health check reaches the server, so that rolling back loses nothing that anybody
was told. Every step is written to ROOT/deployment.json before it is taken: whatever ends this program, recover knows how to roll back.

step        what was begun                                      recover
pause       traffic is paused                                   puts the settings back
stop        the server is stopped, its database copied          puts the settings back, starts the server again
candidate   release, data and settings are replaced             puts all of it back, starts the server again
known-good  the candidate answered                              completes it
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, NamedTuple

from .. import pause
from ..atomic import read_json, sync_directory, write
from ..errors import NousVmError
from ..output import complain
from ..systemd import is_active, systemctl
from . import candidate, traffic
from .deadline import Deadline, Ended
from .migration import command, migrate
from .preflight import lacks
from .server import PATIENCE, POLL
from .service import Service

FAILURES = (OSError, ValueError, NousVmError)
UNTOUCHED = "the server that runs was not touched"


class Request(NamedTuple):
    """What is to be deployed.

    actions: what will be done, for the report. leave: why the release that it replaces is not to come back by itself. restore: the backup to put back.
    migrate: whether a new release moves the data. backup: whether the database is copied before.
    """

    release: str
    actions: list[str]
    leave: str = ""
    restore: str | None = None
    migrate: bool = False
    backup: bool = True


class Deployment:
    """A deployment that is under way, and what is written down of it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.configuration, self.proxy, self.server = service.configuration, service.proxy, service.server
        self.releases, self.settings, self.backups = service.releases, service.settings, service.backups
        self.journal = service.configuration.journal
        self.plan: dict[str, Any] = {}

    def note(self, **fields: Any) -> None:
        """Write down what is about to be done, so that recover knows it."""
        self.plan.update(fields)
        write(self.journal, json.dumps(self.plan).encode())

    def run(self, request: Request) -> dict[str, Any]:
        """Start the candidate, and keep it or roll back; return what came of it."""
        release, previous, history = request.release, self.releases.current(), self.releases.known_good()
        data = request.backup and self.backups.has_database() and (release != previous or request.restore is not None)
        result: dict[str, Any] = {"changed": True, "release": release, "previous": previous, "actions": request.actions}
        if reason := lacks(self.configuration, self.backups, data):
            with contextlib.suppress(OSError):  # there may be no room for that either
                self.settings.put_back(self.server)
            return {**result, "changed": False, "reason": reason, "rollback": UNTOUCHED, "journal": []}
        # What is rolled back to was deployed once. The release itself is one if it was: then it is the settings that may be wrong.
        targets = [*history, previous] if previous in self.releases.built() and (previous != release or release in history) else history
        target = next((each for each in reversed(targets) if each != release or each == previous), None)
        leave = request.leave if previous not in (None, release) else ""
        self.plan = {"release": release, "previous": previous, "target": target, "restore": request.restore, "leave": leave}
        self.plan["unsaved"] = not request.backup and self.backups.has_database()
        began = time.monotonic()
        with Deadline(self.configuration.deadline + self.configuration.drain) as deadline:
            reason = self._try(request, data, previous, deadline)
            result |= {"reason": reason, "journal": self.server.log() if reason else [], "rollback": None}
            try:
                result["rollback"] = self.settle()
            except FAILURES as error:
                result["reason"] = f"{reason}; the rollback failed, and recover will try it again: {error}"
        return {**result, "seconds": round(time.monotonic() - began, 2)}

    def _try(self, request: Request, data: bool, previous: str | None, deadline: Deadline) -> str | None:
        """Come as far as to know whether the candidate answers; return why it does not. From then on the deadline is lifted."""
        unfit = None
        try:
            try:
                self.note(step="pause")
                files = self.settings.saved()
                migration = command(self.configuration, request.release) if request.migrate and request.release != previous else []
                unfit = self._rehearse(request, previous, migration)
                reason = unfit or self.candidate(request, data, migration)
                if files != self.settings.saved():
                    raise OSError("its settings were changed while they were tried, as by another run")
                deadline.lift()
            except Ended as ended:
                deadline.lift()
                reason = f"{ended}, at the step {self.plan['step']}"
            if reason is None:
                self.note(step="known-good", files=files, endpoint=self.server.endpoint)
            elif unfit or self.plan["step"] == "candidate":  # nothing of the release ran before
                self.note(reason=reason, settings=self.settings.digest(), journal=self.server.log())
        except FAILURES as error:
            deadline.lift()
            return str(error)
        return reason

    def _rehearse(self, request: Request, previous: str | None, migration: list[str]) -> str | None:
        """Try a release, or settings, that nobody has seen yet while the server goes on; return why it is not fit. What was good once is not asked again."""
        if request.leave or (request.release == previous and not self.settings.unproven()):
            return None
        unit = next(path for path in self.configuration.files if path.name == self.service.names.server)
        copy = self.backups.export if self.backups.has_database() else None
        return candidate.unhealthy(self.configuration, self.service.names, request.release, unit=unit, migration=migration, copy=copy)

    def candidate(self, request: Request, data: bool, migration: list[str]) -> str | None:
        """Start the candidate while traffic is paused; return why it does not answer."""
        if is_active(self.service.names.proxy):
            traffic.hold(self.proxy, traffic.DEPLOYMENT, f"{request.release} is being deployed")
        self.note(step="stop")
        self.server.stop()
        backup = None
        if data:
            with contextlib.suppress(OSError):
                self.proxy.cut()
            backup = self.backups.create(self.releases.current(), f"before {request.release}")
        self.note(step="candidate", backup=backup)
        systemctl("daemon-reload")
        # Whom it lets in before it can be paused waits for the candidate. To end that would fail it for certain, and hardly any candidate fails.
        if unit := self.settings.outdated_proxy():
            self.restart_proxy(unit)
        if request.restore is not None:
            self.backups.put_back(request.restore)
        binds, limit = [f"BindPaths={self.configuration.home}"], self.configuration.timeout
        if migration and (reason := migrate(self.configuration, self.service.names, request.release, migration, binds, limit)):
            return reason
        self.releases.switch(request.release)
        self.server.start()
        return self.wait(self.configuration.timeout, candidate=True)

    def wait(self, patience: float, candidate: bool = False) -> str | None:
        """Wait until the server answers; return why it does not. A candidate may not crash once, and traffic stays paused though the proxy crash."""
        deadline = time.monotonic() + patience
        while True:
            if candidate:
                self.hold()
            asked = self.server.state()
            reason = self.server.unhealthy(asked)
            state = self.server.state()
            if candidate and int(state.get("NRestarts") or 0):
                return f"{self.server.unit} crashes"
            if reason is None and state == asked:
                return None
            if state.get("ActiveState") in ("failed", "inactive"):
                return f"{self.server.unit} is {state['ActiveState']}"
            if time.monotonic() > deadline:
                return f"{reason} after {patience:g} s"
            time.sleep(POLL)

    def hold(self) -> None:
        """Pause traffic, if the proxy is there: one that is away lets nobody in, one that came back may have let in whom it could."""
        with contextlib.suppress(OSError):
            if self.proxy.traffic() == "flows":
                pause.add(traffic.DEPLOYMENT, f"{self.plan.get('release')} is being deployed")
                traffic.apply(self.proxy)
                self.proxy.cut()

    def restart_proxy(self, unit: str) -> None:
        """Restart the proxy, or its socket, which takes it along, and wait until it is there."""
        systemctl("restart", unit)
        systemctl("start", self.service.names.proxy)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                traffic.hold(self.proxy, traffic.DEPLOYMENT, f"{self.plan.get('release')} is being deployed")
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise OSError(f"{self.service.names.proxy} does not work: {error}") from error
                time.sleep(POLL)

    def settle(self, at_start: bool = False) -> str | None:
        """From what is written down, go on to the end or roll back; return what became of it. Traffic is resumed, whatever else fails."""
        step, outcome, done = self.plan.get("step"), None, False
        try:
            if step == "known-good":
                self.complete()
            elif step == "candidate":
                outcome = self.roll_back(at_start)
            elif step == "stop":
                systemctl("stop", self.service.names.copy)  # which outlives who asked for it
                self.put_settings_back()
                outcome = self.start_again(self.plan["previous"], at_start) if self.plan["previous"] else None
            elif step == "pause":
                self.mark()
                self.put_settings_back()
                outcome = f"{self.plan['previous']} was not stopped" if self.plan["previous"] else None
            else:
                link = self.configuration.current
                raise OSError(
                    f"{self.journal} cannot be read: see what {link} names and that the data is right, remove it, run systemctl start {self.server.unit}"
                )
            self.journal.unlink(missing_ok=True)
            sync_directory(self.journal.parent)
            done = True
        finally:
            if done or step != "candidate" or not self.server.has_process():  # what may still be the candidate must not be reached
                self.resume()
        if step == "known-good":
            self.prune()
        return outcome

    def resume(self) -> None:
        """Let traffic flow, as far as this deployment is concerned."""
        with contextlib.suppress(OSError):  # a proxy that is not there lets traffic flow when it comes
            traffic.release(self.proxy, traffic.DEPLOYMENT)

    def roll_back(self, at_start: bool) -> str | None:
        """Put back data, release and settings, and start what was there before."""
        self.server.stop(at_start)
        if self.plan["backup"]:
            self.backups.put_back(self.plan["backup"])
        target: str | None = self.plan["target"]
        if target:
            self.releases.switch(target)
        self.mark()
        self.put_settings_back()
        outcome = self.start_again(target, at_start) if target else None
        return f"{outcome}, with the data as the candidate left them: no backup was made" if outcome and self.plan["unsaved"] else outcome

    def mark(self) -> None:
        """Mark the candidate as failed, unless the fault is likely to be the host's: it goes down, or release and settings answered together before."""
        release, settings = self.plan["release"], self.plan.get("settings")
        if "reason" in self.plan and systemctl("is-system-running") != "stopping" and not self.settings.accepted(release, settings):
            with contextlib.suppress(OSError):
                self.releases.mark_failed(release, self.plan["reason"], settings, self.plan["journal"])

    def put_settings_back(self) -> None:
        """Put the last known good settings back, and restart the proxy if it has others now."""
        if unit := self.settings.put_back(self.server):
            with contextlib.suppress(OSError):  # a proxy that does not come is no reason to leave the server where it is
                self.restart_proxy(unit)

    def start_again(self, release: str, at_start: bool = False) -> str:
        """Start what ran before, and tell how that went. Before the unit's own start nobody can wait for it."""
        if at_start:
            return f"{release} is started again"
        self.server.start()
        reason = self.wait(self.configuration.timeout)
        return f"{release} answers again" if reason is None else f"{release} does not answer either: {reason}"

    def complete(self) -> None:
        """Write down that release and settings are known to be good."""
        release, previous = self.plan["release"], self.plan["previous"]
        history = [each for each in self.releases.known_good() if each != release] + [release]
        self.settings.keep(history, self.plan["files"], self.plan["endpoint"])
        self.releases.forgive(release)
        if self.plan["leave"] and (self.releases.folder / previous).is_dir():
            self.releases.mark_failed(previous, self.plan["leave"], None, [])
        if not self.server.is_enabled():
            self.server.enable()

    def prune(self) -> None:
        """Remove the releases and backups that are too many."""
        try:
            self.releases.prune(self.plan["release"])
            self.backups.prune()
        except FAILURES as error:
            complain(f"nous-vm: what is too old stays for now: {error}")

    def recover(self, at_start: bool = False) -> dict[str, Any]:
        """Complete what was interrupted, or roll it back, and let traffic flow.

        The server's own start fails if this does: a candidate could tell clients what a later rollback would undo.
        """
        if not self.journal.exists():
            self.resume()
            return {"changed": False}
        self.plan = read_json(self.journal)
        release, step = self.plan.get("release"), self.plan.get("step")
        reason = None if step == "known-good" else self.plan.get("reason", f"it was interrupted at the step {step}")
        result: dict[str, Any] = {"changed": True, "release": release, "previous": self.plan.get("previous"), "reason": reason, "journal": []}
        try:
            result["rollback"] = self.settle(at_start)
        except FAILURES as error:
            decided = step in ("pause", "stop", "known-good") or (step != "candidate" and self.server.has_process())
            if not at_start or not decided:
                raise
            result |= {"reason": f"it could not be completed: {error}", "rollback": None}
        if at_start and (result["rollback"] or step == "known-good"):  # a start that waited for this goes on; one that failed with it before comes now
            systemctl("start", "--no-block", self.server.unit)
        return result
