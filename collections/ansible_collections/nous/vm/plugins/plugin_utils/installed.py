# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a set of files and directories is on a host already, by what the probe of this run saw there.

What cannot be told for sure is not: then nous.vm.files looks for itself, and says what is wrong with a set that makes no sense.
"""

from __future__ import annotations

import os
import re
import typing as t
from collections.abc import Callable, Mapping

OPTIONS = {"files", "validate", "byte_compile"}
ENTRY = {"path", "state", "content", "secret_content", "owner", "group", "mode"}
Paths = Mapping[str, Mapping[str, t.Any]]
Digest = Callable[[bytes], str]


def is_installed(arguments: Mapping[str, t.Any], paths: Paths, digest: Digest) -> bool:
    """Tell whether all of a set is on the host. arguments: those of nous.vm.files. paths: as the probe saw them. digest: of content, as the probe has it."""
    files = arguments.get("files")
    if not OPTIONS.issuperset(arguments) or not isinstance(files, list):
        return False
    if not all(isinstance(entry, dict) and ENTRY.issuperset(entry) and all(isinstance(each, str) for each in entry.values()) for entry in files):
        return False
    named = [entry.get("path", "") for entry in files]
    if len(set(named)) != len(named) or _left(named, paths) or not _compiled(arguments.get("byte_compile"), paths):
        return False
    return all(_is_there(entry, paths.get(entry.get("path", ""), {}), digest) for entry in files)


def _left(named: list[str], paths: Paths) -> bool:
    """Tell whether a killed run left something in a directory of the set."""
    folders = {os.path.dirname(path) for path in named}
    return any(about.get("left") and os.path.dirname(path) in folders for path, about in paths.items())


def _compiled(directory: t.Any, paths: Paths) -> bool:
    """Tell whether every module below a directory has its byte code, if it is to have any."""
    return directory is None or all(about.get("compiled", True) for path, about in paths.items() if path.startswith(f"{directory}/"))


def _is_there(entry: Mapping[str, str], about: Mapping[str, t.Any], digest: Digest) -> bool:
    kind = entry.get("state", "file")
    contents = [entry[name] for name in ("content", "secret_content") if name in entry]
    if not about or kind != about["kind"] or len(contents) != (kind == "file"):
        return False
    mode = entry.get("mode", "0755" if kind == "directory" else "0644")
    owners = _is(entry.get("owner", "root"), about["owner"], about["uid"]) and _is(entry.get("group", "root"), about["group"], about["gid"])
    if not re.fullmatch("[0-7]{4}", mode) or mode != about["mode"] or not owners:
        return False
    try:
        return all(digest(content.encode("utf-8", "surrogateescape")) == about["digest"] for content in contents)
    except UnicodeEncodeError:
        return False


def _is(given: str, name: str, number: int) -> bool:
    """Tell whether a name or number, as the module reads it, is that of an owner."""
    return int(given) == number if given.isdecimal() else given == name
