# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's files on this host: whose Caddyfile there is, the role's parameters, and what was verified last."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from ..atomic import read_json, write_json
from ..errors import ForeignError, UsageError
from ..foreign import read_file
from ..names import CONFIGURATION, STATE
from ..programs import run

UNIT = "caddy.service"
USER = "caddy"
PORTS = (80, 443)
CADDY = Path("/usr/bin/caddy")
CADDYFILE = Path("/etc/caddy/Caddyfile")
DROP_IN = Path(f"/etc/systemd/system/{UNIT}.d/caddy-gateway.conf")
PARAMETERS = CONFIGURATION / "gateway.json"
KNOWN_GOOD = STATE / "gateway-known-good.json"  # the files that were verified last, complete, to roll back to
SYSCTL = Path("/etc/sysctl.d/60-caddy-gateway.conf")
HEAD = "# Managed by Ansible (nous.vm). sha256 of the lines below: "
DPKG = 30.0  # seconds that dpkg gets to answer


class Parameters(NamedTuple):
    """The role's parameters.

    config: the role's own file. cidrs: the allow list. limits: whether the connections of an address are limited.
    score: the most that systemd may score the unit with; None for one that is not the role's. list_url: where a list is that is fetched; empty if none is.
    denied_days: how long it is known who was denied.
    """

    config: Path
    hostname: str
    cidrs: list[str]
    public_paths: list[str]
    limits: bool
    score: float | None
    list_url: str = ""
    denied_days: int = 30


def parameters() -> Parameters:
    """Return the role's parameters. Raises UsageError if it was never applied to this host."""
    known = read_json(PARAMETERS)
    try:
        about = (Path(known["config"]), known["hostname"], known["cidrs"], known["public_paths"], known["limits"], known["score"])
        return Parameters(*about, known.get("list_url", ""), known.get("denied_days", 30))
    except KeyError as error:
        raise UsageError(f"{PARAMETERS} has no {error}; apply the role caddy_gateway to this host") from None


def list_url() -> str:
    """Return where the list of networks is that is fetched. Raises UsageError if there is none."""
    if url := parameters().list_url:
        return url
    raise UsageError("no list of networks is fetched; caddy_gateway_anthropic_cidrs_url names one")


def config() -> Path:
    """Return the file that is the role's: Caddy's own, or beside other sites one that it imports."""
    return Path(read_json(PARAMETERS).get("config", CADDYFILE))


def owner(path: Path) -> str:
    """Return whose configuration a file is: absent, ours (as the role wrote it), package (as the package brought it), or foreign."""
    try:
        content = read_file(path)
    except FileNotFoundError:
        return "absent"
    except (OSError, ForeignError):  # a link, a folder, something large
        return "foreign"
    head, _line_feed, body = content.partition(b"\n")
    if head.decode(errors="replace") == HEAD + hashlib.sha256(body).hexdigest():
        return "ours"
    conffiles = run(["dpkg-query", "--show", "--showformat=${Conffiles}", "caddy"], timeout=DPKG).text
    return "package" if f"{path} {hashlib.md5(content, usedforsecurity=False).hexdigest()}" in conffiles else "foreign"


def on_disk() -> dict[str, str]:
    """Return the gateway's configuration on disk, by file."""
    return {str(path): read_file(path).decode("utf-8", "replace") for path in (config(), DROP_IN, PARAMETERS) if path.exists()}


def known_good() -> dict[str, str]:
    """Return the configuration that was verified last, by file; nothing if there is none."""
    return read_json(KNOWN_GOOD)


def keep_known_good(files: dict[str, str]) -> None:
    """Keep a configuration that was just verified."""
    write_json(KNOWN_GOOD, files)
