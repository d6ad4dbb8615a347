# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role python_runtime."""

from __future__ import annotations

from collections.abc import Iterator

from ..kinds import NAME, absolute_path, packages, text_line, without_credentials
from ..role import Host, Questions, Role, Values
from ..rules import Dict, Fault, Flag, List, Text

LOCKED_UV = "0.13.9"  # whose hashes are in the role's files/uv.txt
VERSION = "[0-9]{1,4}([.][0-9]{1,6})+"


def _installer_variable() -> Text:
    words = "text on one line; a URL has no name or password in it, because process lists show it"
    return Text(accept=without_credentials, allowed=words, example="http://proxy.example.org:3128")


def environment(allowed: str = "a mapping of names of environment variables to text, without the name or password of somebody") -> Dict:
    """The environment of installers."""
    name = Text(pattern="[A-Za-z_][A-Za-z0-9_]*", allowed="the name of an environment variable")
    return Dict(key=name, value=_installer_variable(), allowed=allowed, example="{HTTPS_PROXY: http://proxy.example.org:3128}")


OPTIONS = {
    "python_runtime_interpreter": absolute_path("/usr/bin/python3"),
    "python_runtime_minimum": text_line("a version of Python, in quotes", '"3.12"', "3[.][0-9]{1,3}"),
    "python_runtime_uv_version": text_line("an exact version of uv", "0.13.9", f"{VERSION}((a|b|rc)[0-9]{{1,4}})?"),
    "python_runtime_uv_hashes": List(
        element=text_line("64 hexadecimal digits", "", "[0-9a-f]{64}"), allowed="a list of SHA-256, each 64 hexadecimal digits", example="[0f3c...]"
    ),
    # Whatever is in the folder goes when another version of uv comes: /opt or /usr/local must not be meant by mistake.
    "python_runtime_uv_home": Text(
        pattern=f"(/{NAME})+/uv[A-Za-z0-9._@+-]*", path=True, allowed="an absolute path whose last name begins with uv", example="/opt/uv"
    ),
    "python_runtime_index_url": text_line(
        "nothing, or an http URL without a name or password, which belong into root's .netrc on the host",
        "https://mirror.example.org/simple/",
        r"(https?://[^\s@]+)?",
    ),
    "python_runtime_ca_bundle": absolute_path("/etc/ssl/certs/ca-certificates.crt"),
    "python_runtime_environment": environment(),
    "python_runtime_packages": packages("python3-venv"),
    "python_runtime_manage_packages": Flag(),
}


def hashes_are_known(values: Values) -> Iterator[Fault]:
    """Yield the fault of a version of uv that nobody gave the hashes of: what the index gives would be taken for it."""
    version = values["python_runtime_uv_version"]
    if version != LOCKED_UV and not values["python_runtime_uv_hashes"]:
        given = f"is empty, and python_runtime_uv_version is {version}, whose hashes the collection does not have"
        yield Fault("python_runtime_uv_hashes", given, f"a list of SHA-256, or python_runtime_uv_version {LOCKED_UV}")


def questions(values: Values) -> Questions:
    home, version = values["python_runtime_uv_home"], values["python_runtime_uv_version"]
    return {"pythons": [values["python_runtime_interpreter"]], "matches": [f"{home}/lib/python*/site-packages/uv-{version}.dist-info"]}


def version_fault(variable: str, interpreter: str, minimum: str, host: Host) -> Iterator[Fault]:
    """Yield the fault of an interpreter that does not run or is too old."""
    found = host["pythons"].get(interpreter)
    if found is None or [int(each) for each in found.split(".")[:2]] < [int(each) for each in minimum.split(".")]:
        is_now = f"Python {found}" if found else "not a Python that runs"
        yield Fault(variable, f"is {interpreter}, which is {is_now} on this host", f"Python {minimum} or newer", "/usr/bin/python3 on Debian 13")


def judge(values: Values, host: Host) -> Iterator[Fault]:
    yield from version_fault("python_runtime_interpreter", values["python_runtime_interpreter"], values["python_runtime_minimum"], host)


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    home, version = values["python_runtime_uv_home"], values["python_runtime_uv_version"]
    if not host["matches"][f"{home}/lib/python*/site-packages/uv-{version}.dist-info"]:
        yield Fault(home, f"has no uv {version}", "")


ROLE = Role("python_runtime", OPTIONS, together=(hashes_are_known,), questions=questions, judge=judge, lacks=lacks)
