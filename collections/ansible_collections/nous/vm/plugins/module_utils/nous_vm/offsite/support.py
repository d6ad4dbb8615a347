# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle gets of the backups off this host, and must not have of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic import read_json
from .configuration import RECORD, last, load


def secrets() -> Iterator[Path]:
    """Yield the password of the repository, the variables that restic gets, and its key for SSH."""
    about = load()
    yield Path(about.password)
    if about.environment:
        yield Path(about.environment)
    yield Path(about.password).with_name("ssh_key")


def known() -> dict[str, Any]:
    return {"last": last(), "restored": read_json(RECORD)}


DOCUMENTS = {"backups": known}
VERSIONS = {"restic": ["restic", "version"]}
