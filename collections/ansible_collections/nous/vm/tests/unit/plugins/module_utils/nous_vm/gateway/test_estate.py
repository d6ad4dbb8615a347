# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a Caddyfile with other sites lack, to take the gateway in?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration, estate
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

HOST = "nous.example.org"
S = 10**9
DELETE = {"filter": "delete"}
FILTERED = {"encoder": {"fields": {"request>uri": {"filter": "regexp"}, "request>headers": DELETE, "resp_headers": DELETE}}}


def complete() -> dict[str, Any]:
    """Return a configuration, as Caddy adapts it, that lacks nothing."""
    limits = {"protocols": ["h1", "h2"], "max_header_bytes": 16384, "read_header_timeout": 10 * S, "read_timeout": 60 * S, "idle_timeout": 120 * S}
    routes = [{"match": [{"host": [HOST]}]}]
    servers = {"srv0": {"listen": [":443"], "routes": routes, **limits}, "srv1": {"listen": [":80"], "routes": routes, **limits}}
    return {
        "admin": {"listen": "unix//var/lib/caddy/admin.sock"},
        "logging": {"logs": {"default": FILTERED}},
        "apps": {"http": {"grace_period": 15 * S, "servers": servers | {"other": {"listen": [":8080"], "routes": []}}}},
    }


def lines(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Return the last words of what lacks after a change."""
    known = complete()
    change(known)
    return [line[-1] for line in estate.missing(known, HOST)]


def server(known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = known["apps"]["http"]["servers"]["srv0"]
    return found


def test_nothing_lacks() -> None:
    assert lines(lambda known: known) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda known: known.pop("admin"), "admin unix//var/lib/caddy/admin.sock"),
        (lambda known: known.update(admin={"listen": "localhost:2019"}), "admin unix//var/lib/caddy/admin.sock"),
        (lambda known: known.update(admin={"disabled": True}), "admin unix//var/lib/caddy/admin.sock"),
        (lambda known: known["apps"]["http"].pop("grace_period"), "grace_period 15s"),
        (lambda known: known["apps"]["http"].update(grace_period=61 * S), "grace_period 15s"),
        (lambda known: server(known).pop("protocols"), "protocols h1 h2"),
        (lambda known: server(known).update(protocols=["h1", "h2", "h3"]), "protocols h1 h2"),
        (lambda known: server(known).pop("max_header_bytes"), "max_header_size 8KB"),
        (lambda known: server(known).update(max_header_bytes=1 << 20), "max_header_size 8KB"),
        (lambda known: server(known).pop("read_header_timeout"), "read_header 10s"),
        (lambda known: server(known).update(read_timeout=3600 * S), "read_body 30s"),
        (lambda known: server(known).pop("idle_timeout"), "idle 2m"),
        (lambda known: server(known).update(listener_wrappers=[{"wrapper": "proxy_protocol"}]), "tls"),
    ],
)
def test_one_thing_lacks(change: Callable[[dict[str, Any]], object], line: str) -> None:
    assert lines(change) == [line]


def test_other_ports() -> None:
    assert lines(lambda known: server(known).update(listen=[":8443"])) == ["http_port 80", "https_port 443"]


def test_wrappers_that_caddy_has_itself_are_none() -> None:
    assert lines(lambda known: server(known).update(listener_wrappers=[{"wrapper": "http_redirect"}, {"wrapper": "tls"}])) == []


@pytest.mark.parametrize(
    ("log", "secret"),
    [
        ({}, True),
        ({"include": ["http.log.access"]}, False),
        ({"include": ["http.log.error"]}, True),
        ({"exclude": ["http.log"]}, False),
        ({"exclude": ["tls"]}, True),
        (FILTERED, False),
        ({"encoder": {"fields": {"request>headers": DELETE, "resp_headers": DELETE}}}, True),
        ({"encoder": {"fields": {"request>uri": {}, "request>headers": DELETE, "resp_headers": {"filter": "hash"}}}}, True),
    ],
)
def test_a_log_with_secrets(log: dict[str, Any], secret: bool) -> None:
    assert estate.logs_secrets(log) is secret
    assert bool(lines(lambda known: known["logging"]["logs"].update(more=log))) is secret


def test_a_configuration_without_logs_has_the_default_one() -> None:
    assert lines(lambda known: known.pop("logging")) == ["wrap json", *estate.FIELDS]


def test_block() -> None:
    assert estate.block([]) == ""
    assert estate.block([("grace_period 15s",), ("servers", "timeouts", "idle 2m"), ("servers", "protocols h1 h2")]) == (
        "{\n\tgrace_period 15s\n\tservers {\n\t\ttimeouts {\n\t\t\tidle 2m\n\t\t}\n\t\tprotocols h1 h2\n\t}\n}"
    )


@pytest.fixture
def caddyfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/more.caddy").write_text("more", encoding="utf-8")
    (tmp_path / "common").touch()
    (tmp_path / "caddy").touch()
    monkeypatch.setattr(configuration, "CADDYFILE", tmp_path / "Caddyfile")
    monkeypatch.setattr(configuration, "CADDY", tmp_path / "caddy")
    return tmp_path / "Caddyfile"


def test_composed(caddyfile: Path) -> None:
    folder, own = caddyfile.parent, caddyfile.parent / "conf.d/nous.caddy"
    given = f"import conf.d/*.caddy\nimport {folder}/other/*\nimport common\nimport snippet\nsite {{\n}}"
    assert estate.composed(given, own, "OURS").splitlines() == [
        f"import {folder}/conf.d/more.caddy",
        "OURS",
        f"import {folder}/other/*",
        f"import {folder}/common",
        "import snippet",
        "site {",
        "}",
    ]
    assert estate.composed("import elsewhere/*.caddy", own, "OURS") == ""
    own.write_text("an earlier one", encoding="utf-8")
    assert "an earlier one" not in estate.composed(given, own, "OURS")
    assert estate.composed(given, own, "OURS").count("nous.caddy") == 0


def lacking(caddyfile: Path, monkeypatch: pytest.MonkeyPatch, done: Completed, folder: str = "conf.d") -> str:
    monkeypatch.setattr(estate, "run", lambda *_arguments, **_options: done)
    return estate.lacking(caddyfile.parent / folder / "nous.caddy", "OURS", HOST)


def test_lacking(caddyfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Completed(0, json.dumps(complete()).encode(), b"")
    assert "has no Caddy with" in lacking(caddyfile, monkeypatch, good)
    caddyfile.write_text("import conf.d/*.caddy\n", encoding="utf-8")
    assert lacking(caddyfile, monkeypatch, good) == ""
    configuration.CADDY.unlink()
    assert "has no Caddy with" in lacking(caddyfile, monkeypatch, good)
    configuration.CADDY.touch()
    assert "does not import" in lacking(caddyfile, monkeypatch, good, "elsewhere")
    bad = Completed(1, b"", b"warning\nError: ambiguous site definition: \x1b[31m" + HOST.encode())
    assert lacking(caddyfile, monkeypatch, bad).endswith(r"Error: ambiguous site definition: \x1b[31mnous.example.org")
    known = complete()
    known["apps"]["http"].pop("grace_period")
    assert lacking(caddyfile, monkeypatch, Completed(0, json.dumps(known).encode(), b"")).endswith("global block:\n{\n\tgrace_period 15s\n}")
