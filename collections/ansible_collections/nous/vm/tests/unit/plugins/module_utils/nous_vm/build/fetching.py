# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two units with git, uv and Python that are fakes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

COMMIT = "0123456789ab" + "0" * 28


HASH = "0" * 64


PYLOCK = f'[[packages]]\nname = "dep"\nversion = "1"\nwheels = [{{url = "https://x/dep-1-py3-none-any.whl", hashes = {{sha256 = "{HASH}"}}}}]\n'


PROJECT = '[build-system]\nrequires = ["back"]\nbuild-backend = "back"\n[project]\nname = "nous"\ndependencies = ["dep"]\n'


class Programs:
    """git, uv and Python in the place of programs.run: answers by the words that a call has."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.given: list[bytes | None] = []
        self.answers: dict[str, Completed] = {}
        self.acts: dict[str, Callable[[list[str]], None]] = {}

    def run(self, argv: Sequence[str | Path], **options: Any) -> Completed:
        words = [str(each) for each in argv]
        self.calls.append(words)
        self.given.append(options.get("stdin"))
        line = " ".join(words)
        for part, act in self.acts.items():
            if part in line:
                act(words)
        return next((answer for part, answer in self.answers.items() if part in line), Completed(0, b"", b""))


def pack(path: Path, files: dict[str, str], top: str = "nous-1.0/") -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content.encode()))


Ask = Callable[[dict[str, Any]], dict[str, Any]]
