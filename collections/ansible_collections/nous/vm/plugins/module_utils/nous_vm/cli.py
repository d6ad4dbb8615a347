# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm COMMAND: finds the commands that the roles on this host brought, runs one, prints what came of it.

A command is a module in a folder commands of the package, by its name: status.py is nous-vm status, audit_verify.py is nous-vm audit verify. Its documentation
is the help; it defines run(arguments), which returns a Result, and may define arguments(parser) and EXAMPLE.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import NousVmError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent
CODES = "exit codes: 0 done or healthy, 1 failed or not healthy, 2 wrong call or configuration, 3 interrupted (recover completes it), 4 locked by somebody else"


class Result(NamedTuple):
    """What came of a command. document: what --json prints. text: what a person reads; nothing is printed if it is empty. code: the exit code."""

    document: dict[str, Any]
    text: str = ""
    code: int = 0


def commands() -> dict[str, str]:
    """Return the commands that are on this host: name as it is typed, and the module's name."""
    found = {}
    for path in sorted([*HERE.glob("commands/[!_]*.py"), *HERE.glob("*/commands/[!_]*.py")]):
        module = ".".join(path.relative_to(HERE).with_suffix("").parts)
        found[path.stem.replace("_", " ").replace("first boot", "first-boot")] = module
    return found


def named(words: list[str]) -> tuple[str, str, list[str]]:
    """Return the command that words begin with (two of them, or one), its module, and the words after it."""
    known = commands()
    for count in (2, 1):
        name = " ".join(words[:count])
        if len(words) >= count and name in known:
            return name, known[name], words[count:]
    raise UsageError(f"there is no command {words[0]!r}; there are: {', '.join(known)}")


def summary(module: str) -> str:
    """Return the first line of a module's documentation, without running the module."""
    import ast

    tree = ast.parse(HERE.joinpath(*module.split(".")).with_suffix(".py").read_bytes())
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def overview() -> str:
    """Return what nous-vm --help prints."""
    known = commands()
    width = max(map(len, known))
    lines = [f"  {name.ljust(width)}  {summary(module)}" for name, module in known.items()]
    head = "usage: nous-vm COMMAND [--json] [...]\n\nLook after nous on this host. nous-vm COMMAND --help says more of one, with an example."
    return "\n".join([head, "", "commands:", *lines, "", CODES])


def parser(name: str, module: ModuleType) -> Any:
    """Return the parser of a command."""
    import argparse

    example = getattr(module, "EXAMPLE", f"sudo nous-vm {name}")
    made = argparse.ArgumentParser(
        prog=f"nous-vm {name}",
        description=module.__doc__,
        epilog=f"example: {example}\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="print one JSON document")
    if hasattr(module, "arguments"):
        module.arguments(made)
    return made


def main(words: list[str] | None = None) -> int:
    """Run the command that the words name; return the exit code."""
    given = sys.argv[1:] if words is None else words
    if not given or given[0] in ("--help", "-h", "help"):
        print(overview())
        return 0 if given else UsageError.exit_code
    name = given[0]
    try:
        name, path, rest = named(given)
        module = importlib.import_module(f".{path}", __package__)
        quick = getattr(module, "quick", None)  # a command that runs in every stop of the server, and has no time for argparse
        if quick is not None and not rest:
            return int(quick())
        arguments = parser(name, module).parse_args(rest)
        result: Result = module.run(arguments)
    except NousVmError as error:
        print(f"nous-vm {name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"nous-vm {name}: {error}", file=sys.stderr)
        return NousVmError.exit_code
    if arguments.json:
        import json

        print(json.dumps(result.document, indent=2), flush=True)
    elif result.text:
        print(result.text, flush=True)
    return result.code
