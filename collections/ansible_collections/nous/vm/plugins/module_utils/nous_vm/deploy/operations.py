# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks for: deploy a release, roll back, restore a backup, restart, make a backup. Each returns the document that its command prints."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..systemd import forget, is_active
from .backups import REQUESTED
from .deployment import UNTOUCHED, Deployment
from .origin import make, why_not_anew
from .request import Request
from .server import PATIENCE
from .service import Service
from .traffic import left_paused


def actions(service: Service, release: str, anew: bool = False) -> list[str]:
    """Return what has to be done to have a release deployed: build, reload, enable, switch, proxy, start, resume, forgive; none if all is so already.

    To switch is to make another generation the current one, of another release or with other files. anew: whether it is built though it is.
    """
    needed: list[str] = []
    current = service.generations.current()
    if anew or release not in service.releases.built():
        needed.append("build")
    if current and service.units.stale():
        needed.append("reload")
    if not service.units.are_enabled():
        needed.append("enable")
    if not current or current.digest != service.generations.requested(release):
        needed.append("switch")
    elif service.running.outdated_proxy():
        needed.append("proxy")
    if set(needed) - {"reload", "enable"} or not running(service):
        needed.append("start")
    else:
        needed += ["resume"] if left_paused(service.proxy) else []
        needed += ["forgive"] if service.releases.marked(release, service.generations.settings()) else []
    return needed


def running(service: Service) -> bool:
    """Tell whether the server runs with the current generation and the credentials that are there, and answers."""
    if not is_active(service.names.server) or service.running.server_is_outdated():
        return False
    forget()  # what it was a moment ago is nothing to wait for
    return Deployment(service).wait(PATIENCE) is None


def deploy(service: Service, release: str, again: bool, backup: bool = True, as_built: bool = False) -> dict[str, Any]:
    """Make a release the current one; roll back if it does not answer. Without a backup of the database, rolling back leaves the data as they are then.

    again: though it failed before, and built anew, unless it is to be taken AS_BUILT or what it is made of is not here.
    """
    result: dict[str, Any] = {"changed": False, "release": release, "previous": service.releases.current(), "actions": []}
    if not again and (failure := _failure(service, release)):
        return {**result, "rollback": _leave(service, result["previous"]), **failure}
    anew, warnings = _anew(service, release, again, as_built)
    reason = make(service.releases, release, again=True) if anew else None
    if reason:
        return {**result, "reason": reason, "rollback": UNTOUCHED, "journal": []}
    if service.releases.unable(release):
        reason = make(service.releases, release, again)
        if unable := service.releases.unable(release):
            return {**result, "reason": unable if release in service.releases.built() else reason or unable, "rollback": UNTOUCHED, "journal": []}
    needed = actions(service, release, anew)
    if "start" in needed:
        done = Deployment(service).run(Request(release, needed, migrate=True, backup=backup, anew=anew))
        return {**done, "warnings": warnings + done["warnings"]} if "warnings" in done else done
    if "reload" in needed:
        service.units.load()
    if "enable" in needed:
        service.units.enable()
    if "resume" in needed:
        Deployment(service).resume()
    if "forgive" in needed:
        service.releases.forgive(release, service.generations.settings())
    return {**result, "changed": bool(needed), "actions": needed, "warnings": warnings}


def _anew(service: Service, release: str, again: bool, as_built: bool) -> tuple[bool, list[str]]:
    """Tell whether a release is to be built anew; one that is asked for and cannot be is a warning."""
    if not again or as_built or release not in service.releases.built():
        return False, []
    why = why_not_anew(service.releases, release)
    return why is None, [why] if why else []


def _failure(service: Service, release: str) -> dict[str, Any]:
    """Return why a release is not deployed unasked; nothing if it may be, as one that answers, whatever is written down of it."""
    failure = service.releases.failure(release, service.generations.settings())
    if failure and release == service.releases.current() and "switch" not in actions(service, release) and running(service):
        return {}
    return failure


def _leave(service: Service, current: str | None) -> str:
    """Leave the current generation as it is; start it if it does not answer. Tell how that went."""
    deployment = Deployment(service)
    if current in service.releases.known_good() and deployment.wait(PATIENCE):
        service.server.stop()
        return deployment.start_again(str(current))
    return f"{current} is left as it is"


def check(service: Service, release: str, again: bool, as_built: bool = False) -> dict[str, Any]:
    """Return what deploy would do."""
    result: dict[str, Any] = {"changed": False, "release": release, "previous": service.releases.current(), "actions": []}
    if not again and (failure := _failure(service, release)):
        return {**result, "rollback": f"{result['previous']} is left as it is", **failure}
    anew, warnings = _anew(service, release, again, as_built)
    needed = actions(service, release, anew)
    return {**result, "changed": bool(needed), "actions": needed, "warnings": warnings}


def roll_back(service: Service, release: str | None) -> dict[str, Any]:
    """Deploy a release that was deployed before. What it replaces counts as failed: else the next run of the site would bring it back."""
    releases = service.releases
    # It comes back with the settings of then; that it failed with others tells nothing.
    settings = {made.release: made.settings for made in service.generations.accepted()}
    before = [each for each in releases.known_good() if each != releases.current() and not releases.failure(each, settings[each])]
    if release is None and not before:
        raise UsageError("there is no release before the current one to roll back to")
    if release is not None and release not in releases.built():
        raise UsageError(f"{release} is not built; built: {', '.join(releases.built())}")
    if reason := releases.unable(release or before[-1]):
        others = [each for each in before if not releases.unable(each)]
        raise UsageError(f"{reason}; releases to roll back to that can run: {', '.join(others) or 'none'}")
    return Deployment(service).run(Request(release or before[-1], ["switch", "start"], leave="it was rolled back", earlier=True))


def restore(service: Service, name: str) -> dict[str, Any]:
    """Put a backup back, and with it the release that it was made under, if that is still there and can run."""
    complete, releases = service.backups.complete(), service.releases
    if service.configuration.database is None or name not in complete:
        raise UsageError(f"there is no backup {name}; there are: {', '.join(complete) or 'none'}")
    release = str(complete[name].get("release"))
    able = release in releases.built() and not releases.unable(release)
    request = Request(release if able else str(releases.current()), ["restore", "start"], leave=f"{name} was restored instead", restore=name, earlier=True)
    return Deployment(service).run(request)


def restart(service: Service) -> dict[str, Any]:
    """Restart the server, as the generation that it is; one that somebody stopped stays stopped."""
    release = service.releases.current()
    if release is None or not service.server.is_active():
        return {"changed": False, "release": release, "previous": release, "actions": []}
    return Deployment(service).run(Request(release, ["start"], earlier=True))


def back_up(service: Service) -> dict[str, Any]:
    """Copy the database while the server runs; return the name of the backup."""
    if not service.backups.has_database():
        raise UsageError("there is no database file to copy")
    return {"changed": True, "backup": service.backups.create(service.releases.current(), REQUESTED)}
