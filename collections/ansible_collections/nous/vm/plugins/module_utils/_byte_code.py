# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte code of the Python modules that are installed on a host, so that their programs start fast, those of sandboxed units too, which cannot write it.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from .nous_vm.programs import run

PYTHON = "/usr/bin/python3"  # what runs the host's programs; it need not be what runs this
TIMEOUT = 120.0  # seconds for all of it


def tag(interpreter: str) -> str:
    """Return what an interpreter calls its byte code, for example cpython-313; empty if its file's name does not tell."""
    found = re.search(r"python(\d)\.(\d+)$", os.path.realpath(interpreter))
    return f"cpython-{found[1]}{found[2]}" if found else ""


def is_valid(module: Path, tag: str) -> bool:
    """Tell whether a module has byte code with this tag that is of the module as it is now."""
    try:
        found, header = module.stat(), (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").read_bytes()[:16]
    except OSError:
        return False
    magic = importlib.util.MAGIC_NUMBER if tag == sys.implementation.cache_tag else header[:4]
    words = (0, int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
    return header == magic + b"".join(word.to_bytes(4, "little") for word in words)


def compile_modules(directory: str, rewritten: list[str], interpreter: str = PYTHON) -> str:
    """Compile the modules below a directory that lack valid byte code; return why that failed, nothing if it did not.

    rewritten: paths that were written just now; one may have the size and the second of the one before.
    """
    name = tag(interpreter)
    modules = [each for each in sorted(Path(directory).rglob("*.py")) if str(each) in rewritten or not is_valid(each, name)]
    if not modules:
        return ""
    done = run([interpreter, "-I", "-m", "compileall", "-q", "-f", *modules], timeout=TIMEOUT, merge=True, umask=0o022)
    return "" if done.returncode == 0 else f"no byte code for the modules below {directory}: {done.complaint}"
