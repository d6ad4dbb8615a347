# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be typed next, a line each: commands and their options. The shell's completion calls it.

--json prints {"words": [...]}.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from .. import cli
from ..errors import UsageError

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "nous-vm complete -- audit ro"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="the words after nous-vm so far; the last one is not complete")


def run(arguments: argparse.Namespace) -> cli.Result:
    *before, begun = arguments.words or [""]
    found = sorted({word for word in [*_commands(before), *_options(before)] if word.startswith(begun)})
    return cli.Result({"words": found}, "\n".join(found))


def _commands(before: list[str]) -> list[str]:
    """Return the next words of the commands for a person that begin with these words."""
    names = [name.split() for name in cli.offered(cli.commands())]
    return [words[len(before)] for words in names if words[: len(before)] == before and len(words) > len(before)]


def _options(before: list[str]) -> list[str]:
    """Return the options of the command that these words name."""
    try:
        name, path, _rest = cli.named(before or [""])
    except UsageError:
        return []
    parser = cli.parser(name, importlib.import_module(f"..{path}", __package__))
    return re.findall(r"(?<![\w-])--[a-z][a-z-]*", parser.format_usage())
