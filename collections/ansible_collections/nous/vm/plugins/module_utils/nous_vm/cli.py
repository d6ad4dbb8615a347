# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm COMMAND: finds the commands that the roles on this host brought, runs one, prints what came of it.

A command is a module in a folder commands of the package, by its name: status.py is nous-vm status, audit_verify.py is nous-vm audit verify. Its documentation
is the help; it defines run(arguments), which returns a Result, and may define arguments(parser) and EXAMPLE, and INTERNAL = True if units, playbooks or other
commands run it, and a person does not. What it raises as a NousVmError or an OSError is printed; with --json there is a document then too, which has the key
message.

Every stop of the server waits for a start of this, so nothing is imported here that a command may not need: pathlib alone doubles the time.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .errors import NousVmError, UsageError
from .output import complain, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from types import ModuleType

HERE = os.path.dirname(__file__)
HELP = ("--help", "-h", "help")
ONE_WORD = ("first_boot", "support_bundle")  # that are typed with a hyphen: they are no group's
INTERRUPTED = 130  # as shells have it
CODES = "exit codes: 0 done or healthy, 1 failed or not healthy, 2 wrong call or configuration, 3 interrupted (recover completes it), 4 locked by somebody else"


class Result(NamedTuple):
    """What came of a command.

    document: what --json prints, with the key message if code is not 0. text: what a person reads; nothing is printed if it is empty. code: the exit code.
    """

    document: dict[str, Any]
    text: str = ""
    code: int = 0


def commands() -> dict[str, str]:
    """Return the commands that are on this host: name as it is typed, and the module's name."""
    found = {}
    for folder in ("", *sorted(os.listdir(HERE))):
        place = os.path.join(HERE, folder, "commands")
        names = sorted(os.listdir(place)) if os.path.isdir(place) else []
        for stem in (name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_")):
            found[stem.replace("_", "-" if stem in ONE_WORD else " ")] = f"{folder}.commands.{stem}".lstrip(".")
    return found


def named(words: list[str]) -> tuple[str, str, list[str]]:
    """Return the command that words begin with (two of them, or one), its module, and the words after it."""
    known = commands()
    for count in (2, 1):
        name = " ".join(words[:count])
        if len(words) >= count and name in known:
            return name, known[name], words[count:]
    if group := [name for name in known if name.startswith(f"{words[0]} ")]:
        raise UsageError(f"nous-vm {words[0]} needs one more word; there are: {', '.join(offered(group))}")
    raise UsageError(f"there is no command {words[0]!r}; there are: {', '.join(offered(known))}")


def about(module: str) -> tuple[str, bool]:
    """Return the first sentence of a module's documentation, and whether it is internal, without running the module."""
    with open(os.path.join(HERE, *module.split(".")) + ".py", encoding="utf-8") as file:
        source = file.read()
    line = source.partition('"""')[2].partition("\n")[0].removesuffix('"""')
    return line.partition(". ")[0].removesuffix("."), "\nINTERNAL = True\n" in source


def offered(names: Iterable[str]) -> list[str]:
    """Return those commands that are for a person."""
    known = commands()
    return [name for name in names if not about(known[name])[1]]


def overview(group: str = "") -> str:
    """Return what nous-vm --help prints, or nous-vm GROUP --help: what is for a person, and then the names of what is not."""
    known = {name: about(module) for name, module in commands().items() if not group or name.startswith(f"{group} ")}
    own = {name: sentence for name, (sentence, internal) in known.items() if not internal}
    width = max(map(len, own), default=0)
    lines = ["commands:", *(f"  {name.ljust(width)}  {sentence}" for name, sentence in own.items()), ""]
    if others := [name for name in known if name not in own]:
        lines += ["run by units, playbooks and the commands above:", f"  {', '.join(others)}", ""]
    head = "usage: nous-vm COMMAND [--json] [...]\n\nLook after nous on this host. nous-vm COMMAND --help says more of one, with an example."
    return "\n".join([head, "", *lines, CODES])


def only_root(does: str) -> None:
    """Raise UsageError if this is not root: only root DOES what the command is for."""
    if os.geteuid() != 0:
        raise UsageError(f"only root {does}; run it with sudo")


def parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{message}; nous-vm {name} --help shows what is allowed")

    made = Parser(
        prog=f"nous-vm {name}",
        description=module.__doc__,
        epilog=f"example: {getattr(module, 'EXAMPLE', f'sudo nous-vm {name}')}\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="print one JSON document")
    if hasattr(module, "arguments"):
        module.arguments(made)
    return made


def main(words: list[str] | None = None) -> int:
    """Run the command that the words name; return the exit code."""
    given = sys.argv[1:] if words is None else words
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # whatever the terminal's encoding is
    try:
        return _run(given)
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NousVmError.exit_code
    except KeyboardInterrupt:
        complain(f"nous-vm {' '.join(given[:1])}: interrupted")
        return INTERRUPTED


def _run(given: list[str]) -> int:
    if not given or given[0] in HELP:
        write(overview())
        return 0 if given else UsageError.exit_code
    known = commands()
    if given[0] not in known and given[1:] and given[1] in HELP and any(name.startswith(f"{given[0]} ") for name in known):
        write(overview(given[0]))
        return 0
    name = given[0]
    try:
        name, path, rest = named(given)
        module = importlib.import_module(f".{path}", __package__)
        quick = getattr(module, "quick", None)  # a command that runs in every stop of the server, and has no time for argparse
        if quick is not None and not rest:
            return int(quick())
        # What has no arguments of its own needs no argparse, which costs half as much as the interpreter.
        plain = set(rest) <= {"--json"} and not hasattr(module, "arguments")
        result: Result = module.run(SimpleNamespace(json=bool(rest)) if plain else parser(name, module).parse_args(rest))
    except (NousVmError, OSError) as error:
        from .foreign import printable

        complain(f"nous-vm {printable(name)}: {error}")
        code = error.exit_code if isinstance(error, NousVmError) else NousVmError.exit_code
        result = Result({"message": str(error)}, "", code)
    _print(result, "--json" in given)
    return result.code


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        import json

        write(json.dumps(result.document, indent=2))
    elif result.text:
        write(result.text)


if __name__ == "__main__":  # python3 -m nous_vm.cli COMMAND, where the package is and the command is not installed: to verify a copy of an audit log, say
    raise SystemExit(main())
