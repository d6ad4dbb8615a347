# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files are the host's package: a Python package that roles install as a folder, the command nous-vm, and the completion of its words in Bash."""

from __future__ import annotations

import typing as t
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "module_utils/nous_vm"
LIBRARY = "/usr/local/lib/nous-vm"
COMMAND = """#!/usr/bin/python3 -I
# Managed by Ansible (nous.vm).
import sys

sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.cli import main

raise SystemExit(main())
"""
COMPLETION = """# Managed by Ansible (nous.vm).
_nous_vm() {
    mapfile -t COMPREPLY < <(/usr/local/sbin/nous-vm complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _nous_vm nous-vm
"""


def entries(subpackages: t.Iterable[str]) -> list[dict[str, str]]:
    """Return the entries of the core and of these subpackages, as nous.vm.files takes them; raise ValueError for one that is not there."""
    folders = [SOURCE, SOURCE / "commands"]
    for name in subpackages:
        if not (SOURCE / name / "__init__.py").exists():
            raise ValueError(f"{name!r}, which is no subpackage")
        folders += [SOURCE / name, *(path for path in sorted((SOURCE / name).rglob("*")) if path.is_dir() and path.name != "__pycache__")]
    found = [{"path": LIBRARY, "state": "directory"}]
    found += [{"path": f"{LIBRARY}/nous_vm/{folder.relative_to(SOURCE)}".removesuffix("/."), "state": "directory"} for folder in folders]
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            found.append({"path": f"{LIBRARY}/nous_vm/{path.relative_to(SOURCE)}", "content": path.read_text(encoding="utf-8")})
    found += [{"path": "/usr/local/sbin/nous-vm", "content": COMMAND, "mode": "0755"}]
    return [*found, {"path": "/etc/bash_completion.d", "state": "directory"}, {"path": "/etc/bash_completion.d/nous-vm", "content": COMPLETION}]
