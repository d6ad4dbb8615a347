# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role nous_service."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import bundle
from ..nous_options import ARCHIVE, COMMIT, LOCKED, OLDEST_PYTHON, OPTIONS, PASSWORD, PLACES, SQLITE
from ..role import Host, Questions, Role, Values, calendar_fault
from ..rules import Fault, shown
from .python_runtime import version_fault


def source(values: Values) -> str:
    """Return the source of releases with the variables that name it."""
    return {
        "git": "nous_service_git_url {nous_service_git_url} at nous_service_git_ref {nous_service_git_ref}",
        "archive": "nous_service_archive {nous_service_archive}",
        "index": "nous_service_requirement {nous_service_requirement}",
    }[values["nous_service_source"]].format_map(values)


def database(values: Values) -> str:
    """Return the file that the database is, which a backup copies."""
    found = re.match(SQLITE, values["nous_service_secrets"].get("NOUS_DB_URL", ""))
    return found[2] if found else f"{values['nous_service_home']}/state.db"


def source_is_there(values: Values) -> Iterator[Fault]:
    """Yield the fault of a source that is chosen and not named, or is no file."""
    if values["nous_service_source"] == "index" and not values["nous_service_requirement"]:
        yield Fault("nous_service_requirement", "is empty, and nous_service_source is index", "a requirement as in PEP 508", "nous==0.1.0")
    archive = values["nous_service_archive"] if values["nous_service_source"] == "archive" else None
    if archive is not None and not (archive.endswith((".tar.gz", ".whl")) and os.path.isfile(archive)):
        given = f"is {shown(archive)}, which is no such file, and nous_service_source is archive" if archive else "is empty, and nous_service_source is archive"
        yield Fault("nous_service_archive", given, ARCHIVE, "dist/nous-0.1.0.tar.gz")


def extra(values: Values) -> str:
    """Return the extra requirements, without comments; empty if there are none."""
    path = values["nous_service_extra_requirements"]
    try:
        lines = re.sub(r"\s*\\\n\s*", " ", Path(path).read_text(encoding="utf-8")).splitlines() if path else []
    except (OSError, ValueError):
        return ""
    return "".join(f"{line.strip()}\n" for line in lines if line.strip() and not line.lstrip().startswith("#"))


def extra_is_locked(values: Values) -> Iterator[Fault]:
    """Yield the faults of extra requirements that are not there, or not locked."""
    path, given = values["nous_service_extra_requirements"], extra(values).splitlines()
    allowed = "the path of a file with lines such as NAME==VERSION --hash=sha256:..., as uv pip compile --generate-hashes writes it"
    if path and not given:
        yield Fault("nous_service_extra_requirements", f"is {shown(path)}, which is no such file, or empty", allowed, "telemetry.txt")
    for line in given:
        if not LOCKED.fullmatch(line):
            yield Fault("nous_service_extra_requirements", f"is {shown(path)}, which has the line {shown(line)}", allowed, "telemetry.txt")
            return


def launcher_is_of_the_release(values: Values) -> Iterator[Fault]:
    launcher = values["nous_service_launcher"]
    if launcher and not re.fullmatch("venv/bin/[A-Za-z0-9][A-Za-z0-9._-]*", launcher[0]):
        given = f"is {shown(launcher)}, and its program is none of the release's: the sandbox has no other"
        yield Fault("nous_service_launcher", given, "a list that begins with venv/bin/ and a name", "[venv/bin/opentelemetry-instrument]")


def places_can_be_written(values: Values) -> Iterator[Fault]:
    """Yield the fault of a path that lies where the sandbox lets the server write nothing."""
    places = [Path(values["nous_service_home"]), Path(values["nous_service_audit_path"]).parent]
    for name in PLACES:
        path = values["nous_service_settings"].get(name)
        if path and not any(place in Path(path).parents for place in places):
            given = f"sets {name} to {shown(path)}, where the server may not write"
            yield Fault("nous_service_settings", given, f"a path below {' or '.join(map(str, places))}", f"{places[0]}/auth")


def no_password_in_source(values: Values) -> Iterator[Fault]:
    variable = {"git": "nous_service_git_url", "index": "nous_service_requirement"}.get(values["nous_service_source"])
    if variable and PASSWORD.search(values[variable]):
        given = f"is {shown(values[variable])}, with a name or password that would be in process lists, journals and the release's notes"
        allowed = "one without, and a key for ssh, a .git-credentials or a .netrc of root's on the host"
        yield Fault(variable, given, allowed, "ssh://git@github.com/rmednitzer/nous.git")


def follows_a_branch(values: Values) -> Iterator[Fault]:
    if values["nous_service_follow"] and (values["nous_service_source"] != "git" or re.fullmatch(COMMIT, values["nous_service_git_ref"])):
        allowed = "true for nous_service_source git with a branch"
        yield Fault("nous_service_follow", f"is true, and {source(values)} does not move", allowed, "nous_service_git_ref main")
    elif values["nous_service_follow"] and values["nous_service_git_url"].startswith(("http://", "git://")):
        given = f"is {shown(values['nous_service_git_url'])}, and nous_service_follow is true: whoever is on the way could give this host another commit"
        yield Fault("nous_service_git_url", given, "a URL that begins with https:// or ssh://", "https://github.com/rmednitzer/nous.git")


def signers_need_git(values: Values) -> Iterator[Fault]:
    if values["nous_service_git_signers"] and values["nous_service_source"] != "git":
        given = f"is not empty, and nous_service_source is {values['nous_service_source']}, which has no signatures"
        yield Fault("nous_service_git_signers", given, "an empty list, or nous_service_source git", "[]")


def key_has_a_way_out(values: Values) -> Iterator[Fault]:
    if "NOUS_ANTHROPIC_API_KEY" in values["nous_service_secrets"] and not values["nous_service_https_proxy"]:
        given = "sets NOUS_ANTHROPIC_API_KEY, but the server has no way out to that API (egress_proxy_allow is empty, and so is nous_service_https_proxy)"
        allowed = "to leave the key out, or to add that API to egress_proxy_allow"
        yield Fault("nous_service_secrets", given, allowed, "egress_proxy_allow: [{name: api.anthropic.com, port: 443}]")


def database_can_be_written(values: Values) -> Iterator[Fault]:
    home = Path(values["nous_service_home"])
    if home not in Path(database(values)).parents:
        given = "sets NOUS_DB_URL to a file that is not below nous_service_home, where alone the server may write"
        yield Fault("nous_service_secrets", given, f"the URL of a SQLite file below {home}", f"sqlite:///{home}/state.db")


def health_check_fits(values: Values) -> Iterator[Fault]:
    ready, whole = values["nous_service_ready_timeout"], values["nous_service_deploy_timeout"]
    if ready >= whole:
        allowed = "more, for the copy of the database and the start too"
        yield Fault("nous_service_deploy_timeout", f"is {whole}, and nous_service_ready_timeout is {ready}", allowed, str(2 * ready))


def sockets_are_apart(values: Values) -> Iterator[Fault]:
    sockets = [values["nous_service_socket"], values["nous_service_tokenless_socket"]]
    if sockets[0] == sockets[1]:
        yield Fault("nous_service_tokenless_socket", f"is {shown(sockets[0])}, as nous_service_socket is", "another file", "/run/nous-proxy/tokenless.sock")


def folders_are_apart(values: Values) -> Iterator[Fault]:
    """Yield the fault of a home in the releases' folder, or the other way round: one is the server's to write, the other is not."""
    root, home = Path(values["nous_service_root"]), Path(values["nous_service_home"])
    if root == home or root in home.parents or home in root.parents:
        yield Fault("nous_service_home", f"is {home}, and nous_service_root is {root}", "two folders, neither in the other", "/var/lib/nous and /opt/nous")


def derive(values: Values) -> dict[str, Any]:
    """Return what follows of the values: the SHA-256 of the archive, the file that the database is, what else is installed, and the migration."""
    archive = values["nous_service_archive"] if values["nous_service_source"] == "archive" else ""
    return {
        "archive_sha256": hashlib.sha256(Path(archive).read_bytes()).hexdigest() if archive else "",
        "database": database(values),
        "extra_requirements": (requirements := extra(values)),
        "extra_sha256": hashlib.sha256(requirements.encode()).hexdigest() if requirements else "",
        "migrate": values["nous_service_migrate"],
        "source": source(values),
    }


def questions(values: Values) -> Questions:
    root = values["nous_service_root"]
    return {
        "accounts": [values["nous_service_user"]],
        "groups": [values["nous_service_group"], values["nous_service_socket_group"]],
        "calendars": [values["nous_service_flush_schedule"]],
        "pythons": [values["nous_service_python"]],
        "space": [root],
        "server": {"root": root},
        "bundle": {"root": root, "log": values["nous_service_audit_path"], "user": values["nous_service_user"]},
        "paths": [root, f"{root}/releases", f"{root}/backups", values["nous_service_home"]],
        "units": ["nous.service", "nous-state-flush.timer", "nous-recover.service", "nous-follow.timer"],
    }


def is_built(values: Values, host: Host) -> bool:
    """Tell whether the host has the release that would be deployed, by the name that it has in the role's variables."""
    server, python = host["server"], ".".join(host["pythons"][values["nous_service_python"]].split(".")[:2])
    if sha256 := derive(values)["extra_sha256"]:
        python += f"+{sha256[:8]}"
    kind, current = values["nous_service_source"], server["current"]
    if kind == "git" and server["source"] == source(values) and current in server["releases"] and current.endswith(f"-py{python}"):
        return True  # whichever commit it is
    ref = values["nous_service_git_ref"]
    made_of = {
        "git": ref[:12] if re.fullmatch(COMMIT, ref) else ref,
        "archive": derive(values)["archive_sha256"][:12],
        "index": values["nous_service_requirement"],
    }
    return re.sub("[^A-Za-z0-9._+-]", "_", f"{kind}-{made_of[kind]}-py{python}") in server["releases"]


def judge(values: Values, host: Host) -> Iterator[Fault]:
    yield from bundle.faults(values, host)
    old = [*version_fault("nous_service_python", values["nous_service_python"], OLDEST_PYTHON, host)]
    yield from old
    yield from calendar_fault("nous_service_flush_schedule", values, host)
    root, space = (values[f"nous_service_{name}"] for name in ("root", "build_space"))
    free = host["space"][root]
    if free < space and not old and not is_built(values, host):
        yield Fault(
            "nous_service_root",
            f"is {root}, where {free} MiB are free, and a release needs nous_service_build_space, {space} MiB",
            "a directory with that much room",
            "/srv/nous/releases",
        )


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    if values["nous_service_user"] not in host["accounts"]:
        yield Fault(values["nous_service_user"], "is absent", "")
    for name in (values["nous_service_group"], values["nous_service_socket_group"]):
        if name not in host["groups"]:
            yield Fault(name, "is absent", "")
    if host["units"]["nous.service"].get("ActiveState") != "active":
        yield Fault("nous.service", "is not active", "")


ROLE = Role(
    "nous_service",
    OPTIONS,
    together=(
        sockets_are_apart,
        source_is_there,
        extra_is_locked,
        launcher_is_of_the_release,
        places_can_be_written,
        no_password_in_source,
        follows_a_branch,
        signers_need_git,
        key_has_a_way_out,
        database_can_be_written,
        health_check_fits,
        folders_are_apart,
    ),
    questions=questions,
    judge=judge,
    derive=derive,
    lacks=lacks,
)
