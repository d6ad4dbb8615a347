# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway beside other sites: what the Caddyfile of an estate lacks, to take the gateway's file in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..foreign import parse_json, read_file
from ..programs import run
from . import configuration
from .admin import ADAPT, ANSWER

TAB = "\t"
SECOND = 10**9
LOGGERS = {"http", "http.log", "http.log.error"}
TIMEOUTS = (("read_header_timeout", 60, "read_header 10s"), ("read_timeout", 600, "read_body 30s"), ("idle_timeout", 600, "idle 2m"))
FIELDS = ('request>uri regexp "[?].*" "?..."', "request>headers delete", "resp_headers delete")

Line = tuple[str, ...]  # a line of a global block, after the heads of the blocks around it


def composed(caddyfile: str, path: Path, content: str) -> str:
    """Return a Caddyfile with a content in place of a file that it imports; nothing if it does not import that file."""
    lines, found = [], False
    for line in caddyfile.splitlines():
        name = re.match(r"import\s+(\S+)", line)
        pattern = configuration.CADDYFILE.parent / name[1] if name else None
        if pattern and path.match(str(pattern)):
            found = True
            lines += [f"import {each}" for each in sorted(pattern.parent.glob(pattern.name)) if each != path] + [content]
        elif name and pattern and ("/" in name[1] or "*" in name[1] or pattern.exists()):
            lines.append(line.replace(name[1], str(pattern), 1))
        else:
            lines.append(line)
    return "\n".join([*lines, ""]) if found else ""


def logs_secrets(log: dict[str, Any]) -> bool:
    """Tell whether headers and queries of a request to the gateway can get into a log of the estate."""
    if not {"", *LOGGERS} & set(log.get("include") or [""]):
        return False
    fields = log.get("encoder", {}).get("fields", {})
    filtered = all(fields.get(name, {}).get("filter") == "delete" for name in ("request>headers", "resp_headers")) and "request>uri" in fields
    return not filtered and not LOGGERS & set(log.get("exclude") or [])


def missing(known: dict[str, Any], hostname: str) -> Iterator[Line]:
    """Yield the lines of a global block that the gateway needs and a configuration does not have."""
    apps = known["apps"]["http"]
    admin = known.get("admin") or {}
    if admin.get("disabled") or not admin.get("listen", "").startswith("unix/"):
        yield ("admin unix//var/lib/caddy/admin.sock",)
    if not 0 < apps.get("grace_period", 0) <= 60 * SECOND:
        yield ("grace_period 15s",)
    for name, log in ({"default": {}} | ((known.get("logging") or {}).get("logs") or {})).items():
        if logs_secrets(log):
            yield f"log {name}", "format filter", "wrap json"
            for field in FIELDS:
                yield f"log {name}", "format filter", "fields", field
    servers = [server for server in apps["servers"].values() if f'"{hostname}"' in json.dumps(server["routes"])]
    if not {str(port) for port in configuration.PORTS} <= {address.rpartition(":")[2] for server in servers for address in server["listen"]}:
        yield ("http_port 80",)
        yield ("https_port 443",)
    for server in servers:
        yield from missing_of(server)


def missing_of(server: dict[str, Any]) -> Iterator[Line]:
    """Yield the lines that one server of a configuration lacks."""
    if not set(server.get("protocols") or ["h3"]) <= {"h1", "h2"}:
        yield "servers", "protocols h1 h2"
    if not 0 < server.get("max_header_bytes", 0) <= 65536:
        yield "servers", "max_header_size 8KB"
    for key, most, line in TIMEOUTS:
        if not 0 < server.get(key, 0) <= most * SECOND:
            yield "servers", "timeouts", line
    if not {wrapper["wrapper"] for wrapper in server.get("listener_wrappers", [])} <= {"tls", "http_redirect"}:
        yield "servers", "listener_wrappers", "tls"


def block(lines: Iterable[Line]) -> str:
    """Return lines as one global block; nothing if there are none."""
    tree: dict[str, Any] = {}
    for line in lines:
        place = tree
        for each in line:
            place = place.setdefault(each, {})
    return "\n".join(_written({"": tree})) if tree else ""


def _written(tree: dict[str, Any], depth: int = 0) -> Iterator[str]:
    for head, inside in tree.items():
        yield f"{TAB * depth}{head} {{".lstrip(" ") if inside else f"{TAB * depth}{head}"
        yield from _written(inside, depth + 1)
        if inside:
            yield f"{TAB * depth}}}"


def lacking(path: Path, content: str, hostname: str) -> str:
    """Return why the Caddyfile of an estate cannot take the gateway in, with the lines to add; nothing if it can.

    path, content: the gateway's file that is to be imported, and what is in it. Changes nothing.
    """
    caddyfile = configuration.CADDYFILE
    if not caddyfile.exists() or not configuration.CADDY.exists():
        return f"this host has no Caddy with a {caddyfile} of its own; install the one and write the other, or leave caddy_gateway_snippet empty"
    text = composed(read_file(caddyfile).decode("utf-8", "replace"), path, content)
    if not path.parent.is_dir() or not text:
        return f"{caddyfile} does not import {path}; make its directory and add this line: import {path.parent}/*{path.suffix}"
    done = run([configuration.CADDY, "adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"], timeout=ADAPT, limit=ANSWER, stdin=text.encode())
    if done.returncode != 0:
        return f"Caddy does not accept {caddyfile} together with {path}: {done.complaint}"
    lines = block(missing(parse_json(done.stdout, "what caddy adapt printed"), hostname))
    return f"{caddyfile} does not give what the gateway needs; have these lines in its global block:\n{lines}" if lines else ""
