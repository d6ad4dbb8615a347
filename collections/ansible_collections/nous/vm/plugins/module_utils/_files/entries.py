# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and directories of a set, and the commands that must accept it, as the options describe them."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PLACEHOLDER = re.compile(r"\{(/[^{}]*)\}")


class FilesError(Exception):
    """The set cannot be written; the text is one sentence for the operator that says why."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file or directory of the set.

    owner, group: names or numbers. mode: permission bits. content: None for a directory. secret: never show content.
    """

    path: str
    owner: str
    group: str
    mode: int
    content: bytes | None = None
    secret: bool = False

    @property
    def kind(self) -> str:
        """What stat calls it."""
        return "directory" if self.content is None else "file"


@dataclasses.dataclass(frozen=True)
class Validator:
    """A command that must succeed before anything is changed.

    argv: with {/path} for the staged version of a file of the set. user: who runs it, by name; None for this user.
    """

    argv: tuple[str, ...]
    user: str | None = None

    @property
    def names(self) -> set[str]:
        """The paths that it names."""
        return {path for argument in self.argv for path in PLACEHOLDER.findall(argument)}

    def staged(self, stage: str) -> list[str]:
        """Return the command for the versions that lie in stage."""
        return [PLACEHOLDER.sub(lambda match: stage + match[1], argument) for argument in self.argv]

    def __str__(self) -> str:
        return " ".join(self.staged(""))


def read_entries(files: Sequence[Mapping[str, t.Any]]) -> list[Entry]:
    """Return the entries that the option files describes; raise FilesError for the first that makes no sense."""
    entries = [_read_entry(given) for given in files]
    paths = [entry.path for entry in entries]
    for path in paths:
        if paths.count(path) > 1:
            raise FilesError(f"files has {path} more than once; allowed is one entry for each path.")
    return entries


def _read_entry(given: Mapping[str, t.Any]) -> Entry:
    path, directory = given["path"], given["state"] == "directory"
    contents = [name for name in ("content", "secret_content") if given[name] is not None]
    if not re.fullmatch("/[^/].*", path) or os.path.normpath(path) != path or not path.isprintable():
        raise FilesError(f"files has the path {path!r}; allowed is an absolute path without detours, for example /etc/nous/nous.env.")
    if directory and contents:
        raise FilesError(f"{path} is a directory with {contents[0]}; allowed is content for a file alone.")
    if not directory and len(contents) != 1:
        raise FilesError(
            f"{path} has {'both' if contents else 'neither'} content {'and' if contents else 'nor'} secret_content; "
            'a file has one of them, for example content: "".'
        )
    mode = given["mode"] or ("0755" if directory else "0644")
    if not re.fullmatch("[0-7]{4}", mode):
        raise FilesError(f'{path} has the mode "{mode}"; allowed are four octal digits in quotes, for example "0644".')
    content = None
    if not directory:
        try:
            content = given[contents[0]].encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise FilesError(f"{path} has a {contents[0]} that cannot be written as UTF-8; allowed is text.") from None
    return Entry(path, given["owner"], given["group"], int(mode, 8), content, "secret_content" in contents)


def read_validators(validate: Sequence[Mapping[str, t.Any]], entries: Iterable[Entry]) -> list[Validator]:
    """Return the validators that the option validate describes; raise FilesError for the first that makes no sense."""
    files = [entry.path for entry in entries if entry.content is not None]
    validators = [Validator(tuple(given["argv"]), given["user"]) for given in validate]
    for validator in validators:
        if not validator.names:
            raise FilesError(
                f'validate has the command "{validator}", which names no file of the set, so that it would never run; '
                "allowed is a command with at least one path in braces, for example {/etc/nous/nous.env}."
            )
        for path in sorted(validator.names.difference(files)):
            raise FilesError(
                f"validate names {{{path}}}, which is no file of the set; allowed are "
                f"{', '.join(f'{{{each}}}' for each in files) or 'none, because the set has no files'}."
            )
    return validators
