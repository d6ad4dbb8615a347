# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle gets of the server, and must not have of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .commands.releases import document
from .configuration import load
from .service import service

SECRETS = Path("/etc/nous/secrets.env")


def secrets() -> Iterator[Path]:
    """Yield what the server is started with, and what it keeps of OAuth."""
    about = load()
    yield SECRETS
    yield from about.credentials.values()
    yield from sorted(Path(about.home, "auth").glob("*.json"))


def folders() -> Iterator[Path]:
    about = load()
    yield from (about.root, Path(about.home), SECRETS.parent)


def releases() -> dict[str, Any]:
    return document(service())


def backups() -> dict[str, Any]:
    return service().backups.complete()


DOCUMENTS = {"releases": releases, "backups": backups}
UNITS = ["nous-*.service"]
VERSIONS = {"haproxy": ["haproxy", "-v"]}
