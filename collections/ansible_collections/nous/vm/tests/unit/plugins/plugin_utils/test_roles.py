# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the roles: each option of an argument spec has its rule, and the rules across options and on a host's answers find what cannot work."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nous.vm.plugins.plugin_utils import validation
from ansible_collections.nous.vm.plugins.plugin_utils.role import ROLES, Role, Values, load, merged, platform_fault
from ansible_collections.nous.vm.plugins.plugin_utils.rules import Dict, Fault, List, Rule, Text

COLLECTION = Path(__file__).parents[4]
NEEDED: dict[str, Any] = {
    "caddy_gateway_hostname": "nous.example.org",
    "caddy_gateway_operator_cidrs": ["203.0.113.7/32"],
    "nous_service_issuer": "https://nous.example.org",
}
SOURCE = "nous_service_git_url https://github.com/rmednitzer/nous.git at nous_service_git_ref d11028265bdff5659619920ac422f0b1dcf0eb5a"


def spec(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COLLECTION / "roles" / name / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    options: dict[str, Any] = found["argument_specs"]["main"]["options"]
    return options


def read(name: str, **given: Any) -> tuple[Values, list[str]]:
    """Return the values of a role, and all that is wrong with them, across options too."""
    role = load(name)
    variables = NEEDED | given
    found, faults = validation.read_all([role], variables.__getitem__)
    return found[name], list(map(str, faults))


def host(role: Role, values: Values, **answers: Any) -> dict[str, Any]:
    """Return what a host answers that has all that the role is about."""
    asked = validation.questions([role], {role.name: values})
    good: dict[str, Any] = {
        "failed": {},
        "platform": {"distribution": "Debian", "release": "trixie", "version": "13"},
        "packages": dict.fromkeys(asked["packages"], "1"),
        "accounts": {name: {"uid": 999} for name in asked["accounts"]},
        "groups": dict.fromkeys(asked["groups"], 999),
        "ports": {},
        "space": dict.fromkeys(asked["space"], 4096),
        "pythons": dict.fromkeys(asked["pythons"], "3.13.5"),
        "matches": dict.fromkeys(asked["matches"], True),
        "units": {name: {"ActiveState": "active"} for name in asked["units"]},
        "flags": dict.fromkeys(asked["flags"], True),
        "calendars": dict.fromkeys(asked["calendars"], ""),
        "elapses": dict.fromkeys(asked["elapses"], 1),
        "paths": {},
        "gateway": {"owner": "package"},
        "server": {"current": "", "source": "", "releases": []},
    }
    if role.name == "audit_logrotate":
        about = {"owner": values["audit_logrotate_owner"], "group": values["audit_logrotate_group"]}
        good["paths"] = {path: about | {"mode": values["audit_logrotate_mode"]} for path in asked["flags"]}
        good["paths"][values["audit_logrotate_directory"]] = about | {"mode": "0750"}
    return good | answers


def judged(name: str, given: dict[str, Any] | None = None, **answers: Any) -> list[str]:
    role = load(name)
    values, faults = read(name, **(given or {}))
    assert faults == []
    return list(map(str, validation.judged([role], {name: values}, host(role, values, **answers))))


@pytest.mark.parametrize("name", ROLES)
class TestTable:
    def test_every_option_has_a_rule_of_its_type(self, name: str) -> None:
        options = spec(name)
        assert {option: about["type"] for option, about in options.items()} == {option: rule.type() for option, rule in load(name).options.items()}

    def test_the_same_are_required(self, name: str) -> None:
        required = {option for option, rule in load(name).options.items() if rule.required}
        assert required == {option for option, about in spec(name).items() if about.get("required")}

    def test_choices_elements_and_secrets_are_the_same(self, name: str) -> None:
        for option, about in spec(name).items():
            compare(load(name).options[option], about)

    def test_defaults_pass(self, name: str) -> None:
        values, faults = read(name)
        assert faults == []
        assert dict(values) == {**validation.defaults(load(name))} | {key: value for key, value in NEEDED.items() if key.startswith(name)}

    def test_nothing_is_wrong_with_a_host_that_has_all(self, name: str) -> None:
        assert judged(name) == []
        role, (values, _faults) = load(name), read(name)
        assert role.lacking(values, host(role, values)) == []

    def test_no_text_may_end_with_a_line_feed(self, name: str) -> None:
        texts = {option: value for option, value in read(name)[0].items() if isinstance(value, str)}
        assert texts
        for option, text in texts.items():
            _values, faults = read(name, **{option: f"{text}\n"})
            assert any(fault.startswith(f"{option} ") for fault in faults), option

    def test_no_list_may_have_an_element_that_ends_with_a_line_feed(self, name: str) -> None:
        for option, rule in load(name).options.items():
            if isinstance(rule, List):
                _values, faults = read(name, **{option: [*(NEEDED.get(option) or validation.defaults(load(name))[option])[:1], "a\n"]})
                assert any(fault.startswith(f"{option} has") for fault in faults), option

    def test_null_is_no_value_of_any(self, name: str) -> None:
        for option in load(name).options:
            _values, faults = read(name, **{option: None})
            assert any(fault.startswith(f"{option} is null; allowed is ") for fault in faults), option


def compare(rule: Rule, about: dict[str, Any]) -> None:
    """A rule and an argument spec of the same option say the same."""
    assert set(getattr(rule, "choices", ())) == set(about.get("choices", []))
    assert rule.secret == about.get("no_log", any(option.get("no_log") for option in about.get("options", {}).values()))
    if isinstance(rule, List):
        assert rule.element.type() == about["elements"]
    if isinstance(rule, Dict):
        assert list(rule.options) == list(about.get("options", {}))
        for name, option in about.get("options", {}).items():
            assert rule.options[name].type() == option["type"]
            compare(rule.options[name], option)


def test_examples_of_texts_are_allowed() -> None:
    rules = {name: rule for role in ROLES for name, rule in load(role).options.items()}
    wrong = {name for name, rule in rules.items() if isinstance(rule, Text) and rule.read(name, rule.example.split(" or ")[0].strip('"'))[1]}
    assert wrong == set()


WRONG: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "minimum as a number": ("python_runtime", {"python_runtime_minimum": 3.13}, []),
    "uv where other things are": ("python_runtime", {"python_runtime_uv_home": "/usr/local"}, ['python_runtime_uv_home is "/usr/local"']),
    "uv with a detour": ("python_runtime", {"python_runtime_uv_home": "/opt/../uv"}, ['python_runtime_uv_home is "/opt/../uv"']),
    "inexact version": ("python_runtime", {"python_runtime_uv_version": "0.13.*"}, ['python_runtime_uv_version is "0.13.*"']),
    "uv that nobody has the hashes of": ("python_runtime", {"python_runtime_uv_version": "0.13.8"}, ["python_runtime_uv_hashes is empty, and"]),
    "uv with a short hash": ("python_runtime", {"python_runtime_uv_hashes": ["abc"]}, ['python_runtime_uv_hashes has "abc"']),
    "following without TLS": (
        "nous_service",
        {"nous_service_follow": True, "nous_service_git_ref": "main", "nous_service_git_url": "http://example.org/nous.git"},
        ['nous_service_git_url is "http://example.org/nous.git", and nous_service_follow is true'],
    ),
    "following by git's own protocol": (
        "nous_service",
        {"nous_service_follow": True, "nous_service_git_ref": "main", "nous_service_git_url": "git://example.org/nous.git"},
        ['nous_service_git_url is "git://example.org/nous.git", and nous_service_follow is true'],
    ),
    "signers of what has no signatures": (
        "nous_service",
        {"nous_service_source": "index", "nous_service_requirement": "nous", "nous_service_git_signers": ["a@b ssh-ed25519 AAAA"]},
        ["nous_service_git_signers is not empty, and nous_service_source is index"],
    ),
    "a signer without a key": ("nous_service", {"nous_service_git_signers": ["a@b"]}, ['nous_service_git_signers has "a@b"']),
    "password of the index": (
        "python_runtime",
        {"python_runtime_index_url": "https://ada:canary@mirror.example.org/simple/"},
        ['python_runtime_index_url is "https://***@mirror.example.org/simple/"'],
    ),
    "password of the proxy": (
        "python_runtime",
        {"python_runtime_environment": {"HTTPS_PROXY": "http://ada:canary@proxy.example.org:3128", "1A": "x", "UV_CACHE_DIR": None}},
        [
            'python_runtime_environment sets HTTPS_PROXY to "http://***@proxy.example.org:3128"',
            'python_runtime_environment has the name "1A"',
            "python_runtime_environment sets UV_CACHE_DIR to null",
        ],
    ),
    "one file for both": (
        "oauth_key",
        {"oauth_key_jwks_path": "/etc/nous/keys/signing.pem"},
        ["oauth_key_jwks_path is /etc/nous/keys/signing.pem, and oauth_key_path is /etc/nous/keys/signing.pem"],
    ),
    "the next key's file": ("oauth_key", {"oauth_key_path": "/a/b", "oauth_key_jwks_path": "/a/b.next"}, ["oauth_key_jwks_path is /a/b.next"]),
    "key with a detour": ("oauth_key", {"oauth_key_path": "/etc/nous/../signing.pem"}, ['oauth_key_path is "/etc/nous/../signing.pem"']),
    "no rule across what has a fault": (
        "oauth_key",
        {"oauth_key_path": "x", "oauth_key_jwks_path": "/a/b"},
        ['oauth_key_path is "x"'],
    ),
    "days": (
        "oauth_key",
        {"oauth_key_overlap_days": -1, "oauth_key_rotate_after_days": "0"},
        ["oauth_key_overlap_days is -1", 'oauth_key_rotate_after_days is "0"'],
    ),
    "rotated and kept": (
        "audit_logrotate",
        {"audit_logrotate_anchors": ["audit.jsonl"]},
        ['audit_logrotate_files has "audit.jsonl", which audit_logrotate_anchors has too'],
    ),
    "named like an archive": ("audit_logrotate", {"audit_logrotate_files": ["a.1.gz", "b.1", "c"]}, ['audit_logrotate_files has "a.1.gz" and "b.1"']),
    "named like another's helper": ("audit_logrotate", {"audit_logrotate_name": "a-watch"}, ['audit_logrotate_name is "a-watch"']),
    "mode for others": ("audit_logrotate", {"audit_logrotate_mode": "0662"}, ['audit_logrotate_mode is "0662"']),
    "mode 0000": ("audit_logrotate", {"audit_logrotate_mode": "0000"}, ['audit_logrotate_mode is "0000"']),
    "a key without a set": (
        "audit_logrotate",
        {"audit_logrotate_checkpoint_key": "/a/b/1.pem"},
        ['audit_logrotate_checkpoint_jwks is "", and audit_logrotate_checkpoint_key is "/a/b/1.pem"'],
    ),
    "a set among the keys": (
        "audit_logrotate",
        {"audit_logrotate_checkpoint_key": "/a/b/1.pem", "audit_logrotate_checkpoint_jwks": "/a/b/jwks.json"},
        ["audit_logrotate_checkpoint_jwks is /a/b/jwks.json, beside the key"],
    ),
    "keep nothing": ("audit_logrotate", {"audit_logrotate_keep": 0}, ["audit_logrotate_keep is 0"]),
    "a timer": ("audit_logrotate", {"audit_logrotate_units": ["nous.timer"]}, ['audit_logrotate_units has "nous.timer"']),
    "root": ("nous_service", {"nous_service_user": "root"}, ['nous_service_user is "root"']),
    "octet": ("nous_service", {"nous_service_bind": "127.999.0.1:8088"}, ['nous_service_bind is "127.999.0.1:8088"']),
    "time": ("nous_service", {"nous_service_ready_timeout": 999999}, ["nous_service_ready_timeout is 999999"]),
    "a health check longer than all": (
        "nous_service",
        {"nous_service_ready_timeout": 180},
        ["nous_service_deploy_timeout is 180, and nous_service_ready_timeout is 180"],
    ),
    "one release": ("nous_service", {"nous_service_keep_releases": 1}, ["nous_service_keep_releases is 1"]),
    "socket": ("nous_service", {"nous_service_socket": "/run/mcp.sock"}, ['nous_service_socket is "/run/mcp.sock"']),
    "settings": (
        "nous_service",
        {"nous_service_settings": {"NOUS_TICK_HZ": 1000, "NOUS_POLICY": "none", "NOUS_HOME": "/x"}},
        [
            "nous_service_settings sets NOUS_TICK_HZ to 1000",
            'nous_service_settings sets NOUS_POLICY to "none"',
            'nous_service_settings has the name "NOUS_HOME"',
        ],
    ),
    "what the role sets": (
        "nous_service",
        {
            "nous_service_environment": {
                "NOUS_HOME": "/x",
                "LD_PRELOAD": "/x",
                "PYTHONPATH": "/x",
                "NOUS_POLICY": "open",
                "path": "/x",
                "OTEL_SERVICE_NAME": "n",
            }
        },
        [f'nous_service_environment has the name "{name}"' for name in ("NOUS_HOME", "LD_PRELOAD", "PYTHONPATH", "NOUS_POLICY", "path")],
    ),
    "paths that the server may not write": (
        "nous_service",
        {"nous_service_settings": {"NOUS_ANCHOR_PATH": "/srv/anchors.jsonl", "NOUS_OAUTH_STATE_DIR": "/var/lib/nous/auth"}},
        ['nous_service_settings sets NOUS_ANCHOR_PATH to "/srv/anchors.jsonl", where the server may not write'],
    ),
    "a launcher of the host": (
        "nous_service",
        {"nous_service_launcher": ["/usr/bin/env", "x"]},
        ['nous_service_launcher is ["/usr/bin/env", "x"], and its program is none of the release\'s'],
    ),
    "a launcher with a shell": ("nous_service", {"nous_service_launcher": ["venv/bin/x", "$(id)"]}, ['nous_service_launcher has "$(id)"']),
    "extra requirements that are not there": (
        "nous_service",
        {"nous_service_extra_requirements": "/nonesuch/telemetry.txt"},
        ['nous_service_extra_requirements is "/nonesuch/telemetry.txt", which is no such file, or empty'],
    ),
    "nothing among secrets": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_DB_URL": None}},
        [
            "nous_service_secrets sets NOUS_DB_URL to null; allowed is the URL of a SQLite file with an absolute path, on one line, "
            "for example sqlite:////var/lib/nous/state.db."
        ],
    ),
    "secret with a line feed": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:///canary\n"}},
        ["nous_service_secrets sets NOUS_DB_URL to a value that is not shown"],
    ),
    "key without a way out": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_ANTHROPIC_API_KEY": "canary"}},
        [
            "nous_service_secrets sets NOUS_ANTHROPIC_API_KEY, but the server has no way out to that API "
            "(egress_proxy_allow is empty, and so is nous_service_https_proxy); allowed is to leave the key out, or to add that API to egress_proxy_allow, "
            "for example egress_proxy_allow: [{name: api.anthropic.com, port: 443}]."
        ],
    ),
    "key with a way out": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_ANTHROPIC_API_KEY": "canary"}, "nous_service_https_proxy": "http://127.0.0.1:3128"},
        [],
    ),
    "way out by way of another host": (
        "nous_service",
        {"nous_service_https_proxy": "http://proxy.example.org:3128"},
        ['nous_service_https_proxy is "http://proxy.example.org:3128"; allowed is nothing, or http://, a loopback IPv4 address and a port'],
    ),
    "database on a server": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_DB_URL": "postgresql://ada:canary@db/nous"}},
        ["nous_service_secrets sets NOUS_DB_URL to a value that is not shown; allowed is the URL of a SQLite file with an absolute path"],
    ),
    "database of nowhere": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:///state.db"}},
        ["nous_service_secrets sets NOUS_DB_URL to a value that is not shown; allowed is the URL of a SQLite file with an absolute path"],
    ),
    "database out of the server's reach": (
        "nous_service",
        {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:////srv/state.db"}},
        ["nous_service_secrets sets NOUS_DB_URL to a file that is not below nous_service_home, where alone the server may write"],
    ),
    "nothing but a port": (
        "egress_proxy",
        {"egress_proxy_allow": [{"port": 443}]},
        ['egress_proxy_allow has {"port": 443}, without a name; allowed is entries with name, and if need be port, network and tls'],
    ),
    "an address to be let out to": ("egress_proxy", {"egress_proxy_allow": [{"name": "160.79.104.10"}]}, ['egress_proxy_allow has {"name": "160.79.104.10"}']),
    "a pattern to be let out to": (
        "egress_proxy",
        {"egress_proxy_allow": [{"name": "*.anthropic.com"}]},
        ['egress_proxy_allow has {"name": "*.anthropic.com"}'],
    ),
    "a port of no connection": ("egress_proxy", {"egress_proxy_allow": [{"name": "a.b", "port": 65536}]}, ["egress_proxy_allow has {"]),
    "a word of an entry": ("egress_proxy", {"egress_proxy_allow": [{"name": "a.b", "ports": [1]}]}, ["egress_proxy_allow has {"]),
    "plain text to anywhere": (
        "egress_proxy",
        {"egress_proxy_allow": [{"name": "a.b", "tls": "no"}]},
        ["egress_proxy_allow has a.b with tls false; allowed is"],
    ),
    "the host as a network": (
        "egress_proxy",
        {"egress_proxy_allow": [{"name": "a.b", "network": "0.0.0.0/0"}]},
        ["egress_proxy_allow has a.b in the network 0.0.0.0/0, and 0.0.0.0/8 is the host itself"],
    ),
    "metadata as a network": (
        "egress_proxy",
        {"egress_proxy_allow": [{"name": "a.b", "network": "169.254.169.254/32"}]},
        ["egress_proxy_allow has a.b in the network 169.254.169.254/32, and 169.254.0.0/16 is"],
    ),
    "an entry twice": (
        "egress_proxy",
        {"egress_proxy_allow": [{"name": "a.b"}, {"name": "a.b", "port": 443}]},
        ["egress_proxy_allow has a.b with port 443 twice"],
    ),
    "entries as text": ("egress_proxy", {"egress_proxy_allow": "[{name: a.b, network: 10.0.0.0/24, tls: false}]"}, []),
    "name servers that are none": ("egress_proxy", {"egress_proxy_resolvers": ["10.0.0.256"]}, ['egress_proxy_resolvers has "10.0.0.256"']),
    "a repository without a password": (
        "backup",
        {"backup_repository": "/srv/backup"},
        ["backup_password is empty, and backup_repository is not; allowed is at least 16 characters, kept where this host is not"],
    ),
    "a password that is too short": (
        "backup",
        {"backup_repository": "/srv/backup", "backup_password": "canary"},
        ["backup_password has a value that is not shown, and that is too short"],
    ),
    "sftp from whoever to whomever": (
        "backup",
        {"backup_repository": "sftp:a@b.c:/x", "backup_password": "0123456789abcdef"},
        ['backup_ssh_key is empty, and backup_repository is "sftp:a@b.c:/x"', "backup_ssh_known_hosts is empty"],
    ),
    "sftp at another port": (
        "backup",
        {
            "backup_repository": "sftp://a@b.c:23//x",
            "backup_password": "0123456789abcdef",
            "backup_ssh_key": "-----BEGIN KEY-----\nx\n-----END KEY-----",
            "backup_ssh_known_hosts": ["[b.c]:23 ssh-ed25519 AAAA"],
        },
        [],
    ),
    "sftp at no port": (
        "backup",
        {"backup_repository": "sftp://a@b.c:0//x"},
        ['backup_repository is "sftp://***@b.c:0//x"; allowed is nothing'],
    ),
    "sftp with a password": ("backup", {"backup_repository": "sftp://a:canary@b.c/x"}, ['backup_repository is "sftp://***@b.c/x"; allowed is nothing']),
    "a repository with a password": (
        "backup",
        {"backup_repository": "rest:https://ada:canary@b.c/x", "backup_password": "0123456789abcdef"},
        ['backup_repository is "rest:https://***@b.c/x"; allowed is nothing, or a repository as restic names it'],
    ),
    "a repository on the controller": ("backup", {"backup_repository": "backup"}, ['backup_repository is "backup"']),
    "a variable that the role sets": (
        "backup",
        {"backup_environment": {"RESTIC_PASSWORD": "canary"}},
        ['backup_environment has the name "RESTIC_PASSWORD"'],
    ),
    "a backup that is not kept": (
        "backup",
        {"backup_repository": "/srv/backup", "backup_password": "0123456789abcdef", "backup_keep": {"daily": 0}},
        ['backup_keep is {"daily": 0}, which keeps nothing'],
    ),
    "no backup": ("backup", {"backup_keep": {"daily": 0}}, []),
    "password of the source": (
        "nous_service",
        {"nous_service_git_url": "https://ada:canary@example.org/nous.git"},
        ['nous_service_git_url is "https://***@example.org/nous.git", with a name or password'],
    ),
    "password of the requirement": (
        "nous_service",
        {"nous_service_source": "index", "nous_service_requirement": "nous @ https://ada:canary@example.org/nous.whl"},
        ['nous_service_requirement is "nous @ https://***@example.org/nous.whl", with a name or password'],
    ),
    "no requirement": ("nous_service", {"nous_service_source": "index"}, ["nous_service_requirement is empty, and nous_service_source is index"]),
    "no archive": ("nous_service", {"nous_service_source": "archive"}, ["nous_service_archive is empty, and nous_service_source is archive"]),
    "archive that is not there": (
        "nous_service",
        {"nous_service_source": "archive", "nous_service_archive": "/nonesuch/nous.tar.gz"},
        ['nous_service_archive is "/nonesuch/nous.tar.gz", which is no such file'],
    ),
    "archive of another kind": (
        "nous_service",
        {"nous_service_source": "archive", "nous_service_archive": "/etc/passwd"},
        ['nous_service_archive is "/etc/passwd", which is no such file'],
    ),
    "archive of nobody's": (
        "nous_service",
        {"nous_service_archive": "~nonesuch/nous.tar.gz"},
        ['nous_service_archive is "~nonesuch/nous.tar.gz", which stands for no path here'],
    ),
    "to follow a commit": ("nous_service", {"nous_service_follow": "yes"}, [f"nous_service_follow is true, and {SOURCE} does not move"]),
    "to follow a branch": ("nous_service", {"nous_service_follow": "yes", "nous_service_git_ref": "main"}, []),
    "to follow an archive": (
        "nous_service",
        {"nous_service_follow": True, "nous_service_source": "index", "nous_service_requirement": "nous"},
        ["nous_service_follow is true, and nous_service_requirement nous does not move"],
    ),
    "home in the releases": (
        "nous_service",
        {"nous_service_root": "/srv/nous", "nous_service_home": "/srv/nous/data"},
        ["nous_service_home is /srv/nous/data, and nous_service_root is /srv/nous"],
    ),
    "releases in the home": ("nous_service", {"nous_service_root": "/srv/nous/r", "nous_service_home": "/srv/nous"}, ["nous_service_home is /srv/nous,"]),
    "credential": (
        "nous_service",
        {"nous_service_credentials": {"a b": "/a/b", "c": "d"}},
        ['nous_service_credentials has the name "a b"', 'nous_service_credentials sets c to "d"'],
    ),
    "hostname with a scheme": ("caddy_gateway", {"caddy_gateway_hostname": "https://nous.localhost"}, ['caddy_gateway_hostname is "https://nous.localhost"']),
    "no operator": ("caddy_gateway", {"caddy_gateway_operator_cidrs": []}, ["caddy_gateway_operator_cidrs is empty"]),
    "host bits": ("caddy_gateway", {"caddy_gateway_operator_cidrs": ["203.0.113.7/24"]}, ['caddy_gateway_operator_cidrs has "203.0.113.7/24"']),
    "half the world": (
        "caddy_gateway",
        {"caddy_gateway_operator_cidrs": ["0.0.0.0/0", "::/0"], "caddy_gateway_anthropic_cidrs": ["10.0.0.0/7"]},
        ['caddy_gateway_operator_cidrs has "0.0.0.0/0" and "::/0"', 'caddy_gateway_anthropic_cidrs has "10.0.0.0/7"'],
    ),
    "half the world, meant": (
        "caddy_gateway",
        {"caddy_gateway_operator_cidrs": ["0.0.0.0/0", "10.0.0.0/8"], "caddy_gateway_wide_cidrs": ["0.0.0.0/0"]},
        [],
    ),
    "paths that are not to be public": (
        "caddy_gateway",
        {"caddy_gateway_public_paths": ["/token", "/a/../b", "/ok", "/a?b", "/a/"]},
        ['caddy_gateway_public_paths has "/token" and "/a/../b" and "/a?b" and "/a/"'],
    ),
    "upstream": ("caddy_gateway", {"caddy_gateway_upstream": "127.0.0.1:70000"}, ['caddy_gateway_upstream is "127.0.0.1:70000"']),
    "upstream of requests without a token": (
        "caddy_gateway",
        {"caddy_gateway_upstream_tokenless": "/run/x.sock"},
        ['caddy_gateway_upstream_tokenless is "/run/x.sock"'],
    ),
    "retention of logs": (
        "caddy_gateway",
        {"caddy_gateway_access_log_files": 1, "caddy_gateway_denied_log_days": 0},
        ["caddy_gateway_access_log_files is 1", "caddy_gateway_denied_log_days is 0"],
    ),
    "one socket for all": (
        "nous_service",
        {"nous_service_tokenless_socket": "/run/nous-proxy/mcp.sock"},
        ['nous_service_tokenless_socket is "/run/nous-proxy/mcp.sock", as nous_service_socket is'],
    ),
    "certificate": (
        "caddy_gateway",
        {"caddy_gateway_tls": "files"},
        ["caddy_gateway_tls_certificate is empty, and caddy_gateway_tls is files", "caddy_gateway_tls_key is empty, and caddy_gateway_tls is files"],
    ),
    "certificate that is named": ("caddy_gateway", {"caddy_gateway_tls": "files", "caddy_gateway_tls_certificate": "/a", "caddy_gateway_tls_key": "/b"}, []),
    "snippet": ("caddy_gateway", {"caddy_gateway_snippet": "conf.d/nous.caddy"}, ['caddy_gateway_snippet is "conf.d/nous.caddy"']),
    "mail": ("caddy_gateway", {"caddy_gateway_acme_email": "ada"}, ['caddy_gateway_acme_email is "ada"']),
    "authority": ("caddy_gateway", {"caddy_gateway_acme_ca": "http://ca.example.org/"}, ['caddy_gateway_acme_ca is "http://ca.example.org/"']),
}


@pytest.mark.parametrize(("name", "given", "expected"), WRONG.values(), ids=WRONG.keys())
def test_values(name: str, given: dict[str, Any], expected: list[str]) -> None:
    _values, faults = read(name, **given)
    assert len(faults) == len(expected), faults
    for fault, begin in zip(faults, expected, strict=True):
        assert fault.startswith(begin)
        assert "canary" not in fault
        assert "; allowed is " in fault


def test_what_is_to_be_uninstalled_is_not_judged_across_options() -> None:
    assert read("nous_service", nous_service_state="absent", nous_service_source="index")[1] == []
    role, (values, _faults) = load("nous_service"), read("nous_service", nous_service_state="absent")
    answers = host(role, values, packages={}, groups={}, space={"/opt/nous": 0})
    assert role.judged(values, answers) == []
    assert role.missing_packages(values, answers) == []
    assert role.lacking(values, answers) == ["state"]
    assert "packages" not in role.asks(values)


def test_an_archive_is_one_file_whichever_folder_it_is_named_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nous.tar.gz").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    values, faults = read("nous_service", nous_service_source="archive", nous_service_archive="nous.tar.gz")
    assert faults == []
    assert values["nous_service_archive"] == str(tmp_path / "nous.tar.gz")
    monkeypatch.chdir("/")
    derived = load("nous_service").derive(values)
    assert derived["archive_sha256"] == hashlib.sha256(b"content").hexdigest()
    assert derived["source"] == f"nous_service_archive {tmp_path}/nous.tar.gz"


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    _values, faults = read("nous_service", nous_service_archive="nous.tar.gz")
    assert faults[0].startswith('nous_service_archive is "nous.tar.gz", which stands for no path here')


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (None, "/var/lib/nous/state.db"),
        ("sqlite:////var/lib/nous/a.db?timeout=3", "/var/lib/nous/a.db"),
        ("sqlite+aiosqlite:////var/lib/nous/b/a.db", "/var/lib/nous/b/a.db"),
    ],
)
def test_the_file_that_the_database_is(url: str | None, file: str) -> None:
    values, _faults = read("nous_service", nous_service_secrets={"NOUS_DB_URL": url} if url else {})
    assert load("nous_service").derive(values)["database"] == file


@pytest.mark.parametrize(
    ("line", "good"),
    [
        (f"a==1 --hash=sha256:{'0' * 64}", True),
        (f"a_b[c,d]==1.0+x ; python_version < '3.14' --hash=sha256:{'0' * 64} --hash=sha256:{'1' * 64}", True),
        (f"a==1 \\\n    --hash=sha256:{'0' * 64}\n    # via b", True),
        ("a==1", False),
        (f"a>=1 --hash=sha256:{'0' * 64}", False),
        (f"a==1 --hash=md5:{'0' * 32}", False),
        ("--index-url https://example.org", False),
        (f"-e . --hash=sha256:{'0' * 64}", False),
        ("\xe9", False),
    ],
)
def test_extra_requirements_are_locked(tmp_path: Path, line: str, good: bool) -> None:
    path = tmp_path / "telemetry.txt"
    path.write_text(f"# of uv\n{line}\n", encoding="latin-1")
    values, faults = read("nous_service", nous_service_extra_requirements=str(path))
    assert (faults == []) == good, faults
    assert not good or len(load("nous_service").derive(values)["extra_sha256"]) == 64


def test_networks_that_no_call_comes_from() -> None:
    values, _faults = read("caddy_gateway", caddy_gateway_anthropic_cidrs=["160.79.104.0/23", "34.162.46.92/32"])
    derived = load("caddy_gateway").derive(values)
    assert [each.partition(",")[0] for each in derived["warnings"]] == ["160.79.104.0/23 is listed", "34.162.46.92/32 is listed"]
    assert derived["cidrs"] == ["160.79.104.0/23", "34.162.46.92/32", "203.0.113.7/32"]
    assert derived["config"] == "/etc/caddy/Caddyfile"


HOSTS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "old interpreter": (
        "python_runtime",
        {"python_runtime_minimum": "3.99"},
        {},
        "python_runtime_interpreter is /usr/bin/python3, which is Python 3.13.5 on this host; allowed is Python 3.99 or newer",
    ),
    "no interpreter": ("nous_service", {}, {"pythons": {"/usr/bin/python3": None}}, "nous_service_python is /usr/bin/python3, which is not a Python that runs"),
    "older than 3.12": ("nous_service", {}, {"pythons": {"/usr/bin/python3": "3.9.2"}}, "nous_service_python is /usr/bin/python3, which is Python 3.9.2 on"),
    "schedule": (
        "audit_logrotate",
        {"audit_logrotate_schedule": "daily Mars/Olympus"},
        {"calendars": {"daily Mars/Olympus": "Failed to parse"}},
        'audit_logrotate_schedule is "daily Mars/Olympus", of which systemd-analyze prints: Failed to parse; allowed is',
    ),
    "retention shorter than the server's verifier needs": (
        "audit_logrotate",
        {"audit_logrotate_schedule": "hourly", "audit_logrotate_keep": 24},
        {"elapses": {"hourly": 24}},
        'audit_logrotate_keep is 24; allowed is at least 25 archives with audit_logrotate_schedule "hourly"',
    ),
    "schedule of the flush": (
        "nous_service",
        {"nous_service_flush_schedule": "daily A"},
        {"calendars": {"daily A": "no"}},
        'nous_service_flush_schedule is "daily A", of which systemd-analyze prints: no; allowed is',
    ),
    "space": (
        "nous_service",
        {},
        {"space": {"/opt/nous": 15}},
        "nous_service_root is /opt/nous, where 15 MiB are free, and a release needs nous_service_build_space, 1024 MiB; allowed is",
    ),
    "gateway's port": ("caddy_gateway", {}, {"ports": {"0.0.0.0:80": "nginx (pid 7)"}}, "Port 80 is held by nginx (pid 7) on this host"),
    "platform": (
        "oauth_key",
        {},
        {"platform": {"distribution": "Debian", "release": "bookworm", "version": "12"}},
        "The host runs Debian 12 (bookworm); allowed is Ubuntu 24.04 (noble) and 26.04 (resolute) and Debian 13 (trixie).",
    ),
    "other system": ("oauth_key", {}, {"platform": {"distribution": "Fedora", "release": "", "version": "42"}}, "The host runs Fedora 42 ();"),
    "masked unit": (
        "host_watch",
        {"host_watch_units": ["nous.service"]},
        {"units": {"host-watch.timer": {"ActiveState": "active"}, "nous.service": {"LoadState": "masked"}}},
        "nous.service is masked on this host; allowed is a unit that can be started, for example sudo systemctl unmask nous.service",
    ),
    "command that is not there": (
        "host_watch",
        {"host_watch_alert_command": ["/usr/bin/tell"]},
        {"matches": {"/usr/bin/tell": False}},
        "host_watch_alert_command names /usr/bin/tell, which is not on this host",
    ),
    "no answer": ("oauth_key", {}, {"failed": {"units": "late"}}, "The host does not answer the question for its units: late; allowed is"),
}


@pytest.mark.parametrize(("name", "given", "answers", "sentence"), HOSTS.values(), ids=HOSTS.keys())
def test_hosts(name: str, given: dict[str, Any], answers: dict[str, Any], sentence: str) -> None:
    (fault,) = judged(name, given, **answers)
    assert fault.startswith(sentence)


LEFT = {"/opt/nous": "a checkout", "/etc/logrotate.d/nous": "a rule"}


def test_all_of_the_bundle_is_in_the_way_and_the_playbook_is_named() -> None:
    found = judged("nous_service", bundle={"left": LEFT, "begun": "/x"})
    assert [fault.split(" is ")[0] for fault in found] == list(LEFT)
    assert all(fault.endswith("; allowed is a host that the playbook nous.vm.adopt took over, for example ansible-playbook nous.vm.adopt.") for fault in found)
    (edited,) = judged("caddy_gateway", gateway={"owner": "foreign"}, bundle={"left": LEFT})
    assert edited.endswith("for example ansible-playbook nous.vm.adopt.")
    (edited,) = judged("caddy_gateway", gateway={"owner": "foreign"}, bundle={"left": {}})
    assert edited.endswith("for example mv /etc/caddy/Caddyfile /etc/caddy/Caddyfile.mine.")


def test_an_adoption_that_was_interrupted_is_named() -> None:
    (fault,) = judged("nous_service", bundle={"left": {}, "begun": "/var/lib/nous-vm/adopted/1"})
    assert fault.startswith("The host is adopted in part, what was there is in /var/lib/nous-vm/adopted/1; allowed is one that is adopted as a whole, ")


def test_in_an_adoption_the_bundle_is_no_fault_and_data_elsewhere_is() -> None:
    sound = {"left": LEFT, "settings": {"NOUS_HOME": "/var/lib/nous"}, "secrets": [], "begun": "/x", "conflict": ""}
    assert judged("nous_service", adopt=True, bundle=sound) == []
    assert judged("caddy_gateway", adopt=True, gateway={"owner": "foreign"}) == []
    mine = {"caddy_gateway_snippet": "/etc/caddy/conf.d/nous.caddy"}  # nobody sets aside what is somebody's own
    assert len(judged("caddy_gateway", mine, adopt=True, gateway={"owner": "foreign"})) == 1
    (home,) = judged("nous_service", adopt=True, bundle=sound | {"settings": {"NOUS_HOME": "/srv/nous"}})
    assert home.startswith('nous_service_home is /var/lib/nous, and this host\'s server keeps its data in "/srv/nous"; allowed is the same folder')
    others = sound | {"settings": {"NOUS_OAUTH_STATE_DIR": "/var/lib/nous/o"}, "secrets": ["NOUS_DB_URL"], "conflict": "/srv/audit.jsonl"}
    state, url, log = judged("nous_service", adopt=True, bundle=others)
    assert state.startswith("nous_service_settings has OAuth's files in /var/lib/nous/auth, and this host's server in \"/var/lib/nous/o\"")
    assert url.startswith("nous_service_secrets has no NOUS_DB_URL")
    assert log.startswith("nous_service_audit_path is /var/log/nous/audit.jsonl, and there are two logs")
    (key,) = judged("nous_service", adopt=True, bundle=sound | {"foreign": ["/etc/shadow"]})
    assert key.startswith("/etc/nous/nous.env names /etc/shadow as the server's own, which is no file of its account")
    given = {"nous_service_settings": {"NOUS_OAUTH_STATE_DIR": "/var/lib/nous/o"}, "nous_service_secrets": {"NOUS_DB_URL": "sqlite:////var/lib/nous/s.db"}}
    assert judged("nous_service", given, adopt=True, bundle=others | {"conflict": ""}) == []


def test_a_key_that_could_not_be_proven_is_no_fault_of_the_host() -> None:
    assert judged("oauth_key", {}, failed={"keys": "late"}) == []


WHEEL = "nous-1.whl"


@pytest.mark.parametrize(
    ("given", "server", "built"),
    [
        ({}, {"current": "git-d11028265bdf-py3.13", "source": "", "releases": ["git-d11028265bdf-py3.13"]}, True),
        ({}, {"current": "git-0123456789ab-py3.13", "source": SOURCE, "releases": ["git-0123456789ab-py3.13"]}, True),
        ({}, {"current": "git-0123456789ab-py3.12", "source": SOURCE, "releases": ["git-0123456789ab-py3.12"]}, False),
        ({}, {"current": "git-0123456789ab-py3.13", "source": SOURCE, "releases": []}, False),
        ({}, {"current": "git-0123456789ab-py3.13", "source": "another", "releases": ["git-0123456789ab-py3.13"]}, False),
        ({"nous_service_git_ref": "feature/x"}, {"current": "", "source": "", "releases": ["git-feature_x-py3.13"]}, True),
        (
            {"nous_service_source": "index", "nous_service_requirement": "nous==1"},
            {"current": "", "source": "", "releases": ["index-nous__1-py3.13"]},
            True,
        ),
        (
            {"nous_service_source": "archive", "nous_service_archive": WHEEL},
            {"current": "", "source": "", "releases": [f"archive-{hashlib.sha256(b'x').hexdigest()[:12]}-py3.13"]},
            True,
        ),
    ],
)
def test_a_full_disk_is_a_fault_where_a_release_is_to_be_built(
    given: dict[str, Any], server: dict[str, Any], built: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / WHEEL).write_bytes(b"x")
    assert (judged("nous_service", given, server=server, space={"/opt/nous": 15}) == []) is built


def test_a_private_address_is_not_the_host_s() -> None:
    assert judged("nous_service", ports={"127.0.0.1:8088": "python3 (pid 7)"}) == []


@pytest.mark.parametrize(
    ("name", "answers", "lacking"),
    [
        ("python_runtime", {"packages": {"python3": "3"}}, ["ca-certificates", "python3-venv"]),
        ("python_runtime", {"matches": {"/opt/uv/lib/python*/site-packages/uv-0.13.9.dist-info": False}}, ["/opt/uv has no uv 0.13.9"]),
        ("oauth_key", {"matches": {"/etc/nous/keys/signing.pem": True, "/etc/nous/jwks.json": False}}, ["/etc/nous/jwks.json is absent"]),
        ("audit_logrotate", {"groups": {}}, ["nous is absent"]),
        ("audit_logrotate", {"flags": {"/var/log/nous/audit.jsonl": True}}, ["/var/log/nous/audit-anchors.jsonl is not append-only"]),
        ("nous_service", {"accounts": {}}, ["nous is absent"]),
        ("nous_service", {"groups": {"nous": 1}}, ["www-data is absent"]),
        ("nous_service", {"units": {"nous.service": {"ActiveState": "failed"}}}, ["nous.service is not active"]),
        ("caddy_gateway", {"groups": {}, "units": {"caddy.service": {}}}, ["caddy is absent", "caddy.service is not active"]),
    ],
)
def test_what_a_host_lacks(name: str, answers: dict[str, Any], lacking: list[str]) -> None:
    role, (values, _faults) = load(name), read(name)
    assert role.lacking(values, host(role, values, **answers)) == lacking


def test_checkpoints_that_a_host_lacks() -> None:
    key, jwks, file = "/a/keys/1.pem", "/a/jwks.json", "/var/log/nous-vm/checkpoints-nous.jws"
    role, (values, _faults) = load("audit_logrotate"), read("audit_logrotate", audit_logrotate_checkpoint_key=key, audit_logrotate_checkpoint_jwks=jwks)
    asked = role.asks(values)
    assert asked["matches"] == [key, jwks]
    assert "audit-checkpoint-nous.timer" in asked["units"]
    flags = dict.fromkeys(asked["flags"], True)
    assert role.lacking(values, host(role, values, flags=flags)) == []
    assert role.lacking(values, host(role, values, flags=flags | {file: False})) == [f"{file} is not append-only"]


def test_packages_that_are_somebody_else_s_are_not_missing() -> None:
    role, (values, _faults) = load("oauth_key"), read("oauth_key", oauth_key_manage_packages="no")
    assert role.missing_packages(values, host(role, values, packages={})) == []


def test_platforms() -> None:
    for distribution, release in [("Debian", "trixie"), ("Debian", "forky"), ("Ubuntu", "noble"), ("Ubuntu", "resolute")]:
        assert platform_fault({"platform": {"distribution": distribution, "release": release, "version": ""}}) == []


def test_roles_by_name() -> None:
    assert load("nous.vm.oauth_key") is load("oauth_key")
    with pytest.raises(ValueError, match="there is no role 'x'; allowed are python_runtime, "):
        load("x")


def test_questions_of_several_roles_are_asked_once() -> None:
    assert merged([{"a": [1, 2], "b": {"x": 1}}, {"a": [2, 3], "b": {"y": 2}}]) == {"a": [1, 2, 3], "b": {"x": 1, "y": 2}}
    roles = [load(name) for name in ROLES]
    values, _faults = validation.read_all(roles, NEEDED.__getitem__)
    asked = validation.questions(roles, values)
    assert asked["packages"].count("ca-certificates") == 1
    named = {
        "packages",
        "accounts",
        "groups",
        "ports",
        "space",
        "pythons",
        "matches",
        "units",
        "flags",
        "calendars",
        "elapses",
        "paths",
        "resolvers",
        "server",
        "bundle",
        "gateway",
        "keys",
    }
    assert set(asked) == named


def test_what_is_not_set_or_cannot_be_evaluated() -> None:
    def variable(name: str) -> Any:
        if name == "nous_service_home":
            raise validation.Unevaluable("'x' is undefined")
        raise KeyError(name)

    _values, faults = validation.read_all([load("nous_service")], variable)
    assert [str(fault).partition(";")[0] for fault in faults] == [
        "nous_service_issuer is not set",
        "nous_service_home cannot be evaluated: 'x' is undefined",
    ]


def test_what_follows_of_another_fault_is_not_said() -> None:
    raw = {"nous_service_issuer": "https://{{ caddy_gateway_hostname }}", "caddy_gateway_hostname": "https://x", "nous_service_user": "root"}
    _values, faults = validation.read_all([load("nous_service"), load("caddy_gateway")], (NEEDED | raw).__getitem__)
    kept = validation.without_consequences(faults, raw)
    assert {fault.variable for fault in faults} == {"nous_service_issuer", "caddy_gateway_hostname", "nous_service_user"}
    assert {fault.variable for fault in kept} == {"caddy_gateway_hostname", "nous_service_user"}


def test_all_that_is_wrong_is_said_at_once() -> None:
    given = {"nous_service_user": "root", "nous_service_group": "root"}
    _values, faults = validation.read_all([load("nous_service")], (NEEDED | given).__getitem__)
    assert validation.message(faults[:1]) == str(faults[0])
    assert validation.message([*faults, faults[0]]).splitlines() == ["2 values cannot be used; nothing was changed.", *(f"- {fault}" for fault in faults)]


@pytest.mark.parametrize("change", [{"owner": "nous"}, {"group": "root"}, {"mode": "0600"}])
@pytest.mark.parametrize("path", ["/var/log/nous", "/var/log/nous/audit.jsonl"])
def test_a_log_of_another_owner_or_mode_is_lacking(path: str, change: dict[str, str]) -> None:
    role, (values, _faults) = load("audit_logrotate"), read("audit_logrotate", audit_logrotate_group="nous")
    paths = host(role, values)["paths"]
    assert role.lacking(values, host(role, values, paths=paths)) == []
    assert role.lacking(values, host(role, values, paths=paths | {path: paths[path] | change})) == [f"{path} has another owner or mode, or is absent"]


def test_a_caddyfile_that_was_edited_by_hand() -> None:
    (fault,) = judged("caddy_gateway", gateway={"owner": "foreign"})
    assert fault.startswith("/etc/caddy/Caddyfile was edited by hand on this host; allowed is ")
    assert fault.endswith("for example mv /etc/caddy/Caddyfile /etc/caddy/Caddyfile.mine.")


def test_a_fault_that_follows_from_another_is_left_out_however_far_it_comes() -> None:
    faults = [Fault(name, "is wrong", "another") for name in ("a", "b", "c", "d")]
    raw = {"a": "x", "b": "{{ middle }}", "middle": "{{ {'k': a} }}", "c": "{{ c }} and {{ other }}", "other": 1, "d": "a"}
    assert [fault.variable for fault in validation.without_consequences(faults, raw)] == ["a", "c", "d"]
