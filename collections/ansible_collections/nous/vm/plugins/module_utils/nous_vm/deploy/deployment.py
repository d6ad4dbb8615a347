# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment: stop the server, start the candidate, and keep it or roll back.

While there is a candidate the local proxy keeps clients waiting and only the health check reaches the server, so that rolling back loses nothing that anybody
was told. Every step is written to ROOT/deployment.json before it is taken: whatever ends this program, recover knows how to roll back.

step        what was begun                                      recover
pause       traffic is paused                                   resumes it
stop        the server is stopped, its database copied          starts the server again
candidate   generation and data are replaced                    puts both back, starts the server again
known-good  the candidate answered                              completes it
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from .. import pause
from ..atomic import read_json, sync_directory, write
from ..errors import NousVmError
from ..output import complain
from ..systemd import is_active, systemctl
from . import checks, fitness, traffic
from .deadline import Deadline, Ended
from .generations import Generation
from .migration import migrate
from .parts import Parts
from .preflight import lacks
from .request import Request
from .server import PATIENCE, POLL
from .service import Service

FAILURES = (OSError, ValueError, NousVmError)
UNTOUCHED = "the server that runs was not touched"


class ProxyError(OSError):
    """The local proxy does not work."""


class Deployment:
    """A deployment that is under way, and what is written down of it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.configuration, self.proxy, self.server = service.configuration, service.proxy, service.server
        self.releases, self.generations, self.backups = service.releases, service.generations, service.backups
        self.journal, self.parts = service.configuration.journal, Parts()
        self.plan: dict[str, Any] = {}

    def note(self, **fields: Any) -> None:
        """Write down what is about to be done, so that recover knows it."""
        self.plan.update(fields)
        write(self.journal, json.dumps(self.plan).encode())

    def run(self, request: Request) -> dict[str, Any]:
        """Start the candidate, and keep it or roll back; return what came of it."""
        release, previous = request.release, self.releases.current()
        data = request.backup and self.backups.has_database() and (release != previous or request.restore is not None)
        result: dict[str, Any] = {"changed": True, "release": release, "previous": previous, "actions": request.actions}
        untouched = {**result, "changed": False, "rollback": UNTOUCHED, "journal": []}
        if reason := lacks(self.configuration, self.backups, data):
            return {**untouched, "reason": reason}
        candidate = (self.generations.of(release) if request.earlier else None) or self.generations.prepare(release)
        if reason := self.generations.lacks(candidate):
            return {**untouched, "reason": reason}
        leave = request.leave if previous not in (None, release) else ""
        self.plan = {"release": release, "previous": previous, "generation": candidate.number, "target": self._target(candidate), "leave": leave}
        self.plan |= {"restore": request.restore, "unsaved": not request.backup and self.backups.has_database()}
        self.plan["settings"] = candidate.settings if request.earlier else self.generations.settings()
        began = time.monotonic()
        with Deadline(self.configuration.deadline + self.configuration.drain) as deadline:
            reason = self._try(request, data, candidate, deadline)
            result |= {"reason": reason, "journal": self.server.log() if reason else [], "rollback": None}
            try:
                result["rollback"] = self.settle()
            except FAILURES as error:
                result["reason"] = f"{reason}; the rollback failed, and recover will try it again: {error}"
        if result["reason"] is None:
            result["warnings"] = checks.warnings(self.configuration, self.service.names, release)
        return {**result, "seconds": round(time.monotonic() - began, 2), "parts": self.parts.seconds}

    def _try(self, request: Request, data: bool, made: Generation, deadline: Deadline) -> str | None:
        """Come as far as to know whether the candidate answers; return why it does not. From then on the deadline is lifted."""
        unfit = None
        try:
            try:
                self.note(step="pause")
                checks.found(checks.REQUIRED)  # before anything is touched
                with self.parts.part("rehearsal"):
                    unfit = fitness.rehearse(self.service, request, made)
                reason = unfit or self.candidate(request, data)
                deadline.lift()
            except Ended as ended:
                deadline.lift()
                reason = f"{ended}, at the step {self.plan['step']}"
            if reason is None:
                self.note(step="known-good")
            elif unfit or self.plan["step"] == "candidate":  # nothing of the release ran before
                self.note(reason=reason, journal=self.server.log())
        except FAILURES as error:
            deadline.lift()
            return str(error)
        return reason

    def _target(self, candidate: Generation) -> int | None:
        """Return the generation to roll back to: the current one, else the last that answered; of either the release must be there."""
        known, current = [each for each in self.generations.accepted() if each != candidate], self.generations.current()
        known += [current] if current and (current != candidate or current.accepted) else []
        return next((each.number for each in reversed(known) if each.release in self.releases.built()), None)

    def switch(self, number: int, at_start: bool = False) -> None:
        """Make a generation the current one, in systemd's eyes too, and restart the proxy if it is another's. At a boot it may not be there yet."""
        made = self.generations.numbered(number)
        self.server.address, self.server.host = made.address, made.host
        self.generations.switch(made)
        self.releases.point(made.release)
        self.service.units.load()
        if (unit := self.service.running.outdated_proxy()) and not (at_start and not is_active(self.service.names.proxy)):
            self.restart_proxy(unit)

    def candidate(self, request: Request, data: bool) -> str | None:
        """Start the candidate while traffic is paused; return why it does not answer."""
        if is_active(self.service.names.proxy):
            traffic.hold(self.proxy, traffic.DEPLOYMENT, f"{request.release} is being deployed")
        self.parts.pause()
        self.note(step="stop")
        with self.parts.part("drain and stop"):
            self.server.stop()
        backup = None
        if data:
            with contextlib.suppress(OSError):
                self.proxy.cut()
            with self.parts.part("copy"):
                backup = self.backups.create(self.releases.current(), f"before {request.release}")
        self.note(step="candidate", backup=backup)
        # Whom the proxy lets in before it can be paused waits for the candidate. To end that would fail it for certain, and hardly any candidate fails.
        self.switch(self.plan["generation"])
        if request.restore is not None:
            self.backups.put_back(request.restore)
        binds, limit = [f"BindPaths={self.configuration.home}"], self.configuration.timeout
        moves = fitness.migration(self.configuration, request, self.plan["previous"])
        with self.parts.part("migration"):
            if moves and (reason := migrate(self.configuration, self.service.names, request.release, moves, binds, limit)):
                return reason
        with self.parts.part("start and checks"):
            self.server.start()
            return self.wait(self.configuration.timeout, candidate=True) or fitness.in_place(self.service, request)

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
                    raise ProxyError(f"{self.service.names.proxy} does not work: {error}") from error
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
                outcome = self.start_again(self.plan["previous"], at_start) if self.plan["previous"] else None
            elif step == "pause":
                self.mark()
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
        self.parts.resume()

    def roll_back(self, at_start: bool) -> str | None:
        """Put back data, release and settings, and start what was there before."""
        self.server.stop(at_start)
        if self.plan["backup"]:
            self.backups.put_back(self.plan["backup"])
        self.mark()
        if self.plan["target"] is None:
            return None
        with contextlib.suppress(ProxyError):  # a proxy that does not come is no reason to leave the server where it is
            self.switch(self.plan["target"], at_start)
        outcome = self.start_again(self.generations.numbered(self.plan["target"]).release, at_start)
        return f"{outcome}, with the data as the candidate left them: no backup was made" if self.plan["unsaved"] else outcome

    def mark(self) -> None:
        """Mark the candidate as failed, unless the fault is likely to be the host's: it goes down, or release and settings answered together before."""
        release, settings = self.plan["release"], self.plan.get("settings")
        before = [(each.release, each.settings) for each in self.generations.accepted()]
        if "reason" in self.plan and systemctl("is-system-running") != "stopping" and (release, settings) not in before:
            with contextlib.suppress(OSError):
                self.releases.mark_failed(release, self.plan["reason"], settings, self.plan["journal"])

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
        self.generations.accept(self.generations.numbered(self.plan["generation"])._replace(settings=self.plan["settings"]))
        self.releases.forgive(release, self.plan["settings"])
        if self.plan["leave"] and (self.releases.folder / previous).is_dir():
            self.releases.mark_failed(previous, self.plan["leave"], None, [])
        if not self.service.units.are_enabled():
            self.service.units.enable()

    def prune(self) -> None:
        """Remove the releases and backups that are too many."""
        try:
            self.generations.prune()
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
