# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role nous_service, each by itself. (Together: roles/nous_service.py.)"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from .kinds import (
    NAME,
    OCTET,
    PORT,
    absolute_path,
    account_name,
    calendar_event,
    choice,
    https_url,
    integer,
    loopback,
    packages,
    real,
    required,
    seconds,
    text_line,
)
from .roles.python_runtime import environment
from .rules import LINE, Dict, Flag, List, Rule, Text, Wrong, shown

OLDEST_PYTHON = "3.12"
MIGRATION = ["venv/bin/python", "scripts/migrate.py", "upgrade"]  # of nous; a release that does not bring it is not migrated
YEAR = 31536000  # seconds
PASSWORD = re.compile("https?://[^/ ]*@|://[^/@ ]*:[^/@ ]*@")
ARCHIVE = "the path of a .tar.gz or .whl file on the controller"
COMMIT = "[0-9a-f]{40}"
SQLITE = "sqlite([+][a-z]+)?:///(/[^?\\x00-\\x1f\\x7f]+)"
HTTPS_PROXY = f"(http://127([.]{OCTET}){{3}}:{PORT})?"


class ControllerPath(Text):
    """A path on the controller, which is made absolute once, from the folder that the operator stands in."""

    def convert(self, value: object) -> str:
        text = super().convert(value)
        try:
            return str(Path(text).expanduser().absolute()) if text else ""
        except (OSError, RuntimeError) as error:  # the folder is gone, or there is no such user
            raise Wrong(f"is {shown(text)}, which stands for no path here ({error})") from None


def _secret(allowed: str, example: str) -> Text:
    return Text(pattern=f"(?=.){LINE}", secret=True, allowed=allowed, example=example)


SETTINGS: dict[str, Rule] = {
    "NOUS_POLICY": choice("open", "guarded", "readonly"),
    **{name: text_line() for name in ("NOUS_POLICY_ALLOW", "NOUS_POLICY_DENY", "NOUS_PROFILE", "NOUS_SCENARIO")},
    "NOUS_TICK_HZ": real(0.01, 100, 1),
    "NOUS_MAX_OUTPUT": integer(1024, 104857600, 65536),
    "NOUS_ANTHROPIC_DAILY_CAP": integer(0, 1000000, 100),
    "NOUS_ANTHROPIC_MODEL_DEFAULT": text_line(),
    "NOUS_ANTHROPIC_MODEL_ADVANCED": text_line(),
    "NOUS_OAUTH_SINGLE_CLIENT": Flag(),
    "NOUS_OAUTH_ACCESS_TTL": seconds(60, YEAR, 3600),
    "NOUS_OAUTH_REFRESH_TTL": seconds(300, 10 * YEAR, 2592000),
    "NOUS_OAUTH_CODE_TTL": seconds(30, 3600, 60),
    "NOUS_OAUTH_STATE_DIR": absolute_path("/var/lib/nous/auth"),
    "NOUS_ANCHOR_PATH": absolute_path("/var/log/nous/audit-anchors.jsonl"),
}
PLACES = ("NOUS_OAUTH_STATE_DIR", "NOUS_ANCHOR_PATH")  # that the server writes to
SECRETS: dict[str, Rule] = {
    "NOUS_DB_URL": replace(
        _secret("the URL of a SQLite file with an absolute path, on one line", "sqlite:////var/lib/nous/state.db"), pattern=f"{SQLITE}{LINE}"
    ),
    "NOUS_ANTHROPIC_API_KEY": _secret("a key of the Anthropic API, on one line", ""),
    "NOUS_NATS_URL": _secret("the URL of a NATS server, on one line", "nats://nats.example.org"),
    "OTEL_EXPORTER_OTLP_HEADERS": _secret("headers for an OTLP collector, on one line", ""),
}
# What the role sets, or what programs of root's would heed that run beside the server.
RESERVED = (
    *SETTINGS,
    *SECRETS,
    *("NOUS_HOME", "NOUS_TRANSPORT", "NOUS_HTTP_BIND", "NOUS_OAUTH_ENABLED", "NOUS_OAUTH_ISSUER", "NOUS_AUDIT_PATH", "ANTHROPIC_API_KEY"),
    *("PATH", "HOME", "USER", "SHELL", "TMPDIR", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "MAINPID", "SERVICE_RESULT"),
)
LOADER = re.compile("LD_|PYTHON|GCONV_|MALLOC_|GLIBC_")
WORD = Text(pattern="[A-Za-z0-9._/=:,@+-]+", allowed="a word of letters, digits and ._/=:,@+-")
LOCKED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])? *== *[A-Za-z0-9.!+_-]+ *(;[^#]*?)?( --hash=sha256:[0-9a-f]{64})+ *(#.*)?")
CREDENTIAL = Text(pattern="[A-Za-z0-9._-]+", allowed="a name of letters, digits, dots, underscores and hyphens")

OPTIONS: dict[str, Rule] = {
    "nous_service_state": choice("present", "absent"),
    "nous_service_issuer": required(https_url("https://nous.example.org")),
    "nous_service_source": choice("git", "archive", "index"),
    "nous_service_git_url": text_line("a URL of a git repository", "https://github.com/rmednitzer/nous.git", r"[a-z+]+://[^\s]+|[^\s:@]+@[^\s:]+:[^\s]+"),
    "nous_service_git_ref": text_line("a commit, a tag or a branch", "v0.1.0", "[A-Za-z0-9][A-Za-z0-9._/+-]*"),
    "nous_service_git_signers": List(
        element=text_line(pattern=f"[^#]{LINE} (ssh|ecdsa|sk-ssh|sk-ecdsa)-{LINE}"),
        allowed="a list of lines as in ssh's allowed_signers, each a name and a public key",
        example="[dev@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...]",
    ),
    "nous_service_follow": Flag(),
    "nous_service_archive": ControllerPath(path=True, allowed=f"nothing, or {ARCHIVE}", example="dist/nous-0.1.0.tar.gz"),
    "nous_service_requirement": text_line("nothing, or a requirement as in PEP 508", "nous==0.1.0", f"([A-Za-z0-9]{LINE})?"),
    "nous_service_constraints": List(
        element=text_line(pattern=f"[A-Za-z0-9]{LINE}"), allowed="a list of constraints as in PEP 508, each on one line", example='["mcp<2"]'
    ),
    "nous_service_extra_requirements": ControllerPath(
        path=True, allowed="nothing, or the path of a requirements file on the controller, each line a version with its hashes", example="telemetry.txt"
    ),
    "nous_service_lock": choice("warn", "fail"),
    "nous_service_python": absolute_path("/usr/bin/python3", names=2),
    "nous_service_uv": absolute_path("/opt/uv/bin/uv", names=2),
    "nous_service_build_environment": environment(),
    "nous_service_build_space": integer(0, 2**30, 1024, "a number of MiB"),
    "nous_service_user": account_name("nous"),
    "nous_service_group": account_name("nous"),
    "nous_service_root": absolute_path("/srv/nous/releases", names=2),
    "nous_service_home": absolute_path("/srv/nous/data", names=2),
    "nous_service_bind": loopback("127.0.0.1:8088"),
    "nous_service_https_proxy": text_line("nothing, or http://, a loopback IPv4 address and a port", "http://127.0.0.1:3128", HTTPS_PROXY),
    "nous_service_socket": Text(
        pattern=f"/run/{NAME}/{NAME}", path=True, allowed="a file in a folder of its own below /run", example="/run/nous-proxy/mcp.sock"
    ),
    "nous_service_tokenless_socket": Text(
        pattern=f"/run/{NAME}/{NAME}", path=True, allowed="a file in a folder of its own below /run", example="/run/nous-proxy/tokenless.sock"
    ),
    "nous_service_socket_group": account_name("www-data", root=True),
    "nous_service_audit_path": absolute_path("/srv/nous/log/audit.jsonl", names=2),
    "nous_service_settings": Dict(options=SETTINGS, allowed="a mapping of the settings in the role's README", example="{NOUS_POLICY: guarded}"),
    "nous_service_environment": Dict(
        key=Text(pattern="[A-Z][A-Z0-9_]*", accept=lambda name: name not in RESERVED and not LOADER.match(name), allowed="the name of an environment variable"),
        value=text_line(),
        allowed="a mapping of environment variables beside nous_service_settings and nous_service_secrets, none that the role sets or a loader heeds, to text",
        example="{OTEL_SERVICE_NAME: nous}",
    ),
    "nous_service_launcher": List(element=WORD, allowed="a list of a program of the release and its arguments", example="[venv/bin/opentelemetry-instrument]"),
    "nous_service_secrets": Dict(
        options=SECRETS, secret=True, allowed=f"a mapping of {', '.join(SECRETS)}", example="{NOUS_DB_URL: sqlite:////var/lib/nous/state.db}"
    ),
    "nous_service_credentials": Dict(
        key=CREDENTIAL,
        value=absolute_path("/etc/nous/keys/signing.pem", names=2),
        allowed="a mapping of names of letters, digits, dots, underscores and hyphens to absolute paths of files",
        example="{signing-key: /etc/nous/keys/signing.pem}",
    ),
    "nous_service_flush_schedule": calendar_event(),
    "nous_service_ready_timeout": seconds(1, 3600, 60),
    "nous_service_deploy_timeout": seconds(10, 7200, 180),
    "nous_service_health_tool": text_line("nothing, or the name of a tool", "device_health", "([A-Za-z0-9_.-]{1,128})?"),
    "nous_service_drain_timeout": seconds(0, 300, 30),
    "nous_service_try_again": Flag(),
    "nous_service_migrate": List(
        element=text_line(pattern=f"(?=.){LINE}"), allowed="a list of a command and its arguments", example=f"[{', '.join(MIGRATION)}]"
    ),
    # Rolling back needs the release before the current one.
    "nous_service_keep_releases": integer(2, 1000, 3, "a number of releases"),
    "nous_service_packages": packages("haproxy"),
    "nous_service_manage_packages": Flag(),
}
