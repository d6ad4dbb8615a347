# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle must not have of builds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .configuration import load
from .unit import lent


def secrets() -> Iterator[Path | str]:
    """Yield the values of the variables that git and uv get, the password in the address of the source, and root's own keys and passwords for it."""
    about = load()
    yield from about.environment.values()
    if password := urlsplit(str(about.source.get("url", ""))).password:
        yield from (password, unquote(password))
    yield from (path for name, path in lent(about) if name != "known_hosts")


VERSIONS = {"git": ["git", "--version"]}
