# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine this is: by its machine-id, which the copy of a disk may have too, and by the UUID of its hardware, which it does not have."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import NamedTuple

from .errors import ForeignError
from .foreign import read_file

MACHINE_ID = Path("/etc/machine-id")
PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")  # root's alone to read; not on every machine
CONTAINERS = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")  # one of them is in a container, whose hardware is another machine's
APPLICATION = bytes.fromhex("6f3c2a51b0d64d0f9c0e3a7d1e58c4b2")
SIZE = 1024  # bytes of either file


class Machine(NamedTuple):
    """A machine. Each is 32 hexadecimal digits, or empty if it is not known."""

    machine_id: str
    product_uuid: str

    def names(self) -> dict[str, str]:
        """Return what it is called where others read it: made of both as systemd-id128 --app-specific does, because machine-id(5) is not for them."""
        known = {"id": self.machine_id, "product": self.product_uuid}
        return {name: _derived(value) for name, value in known.items() if value}


def machine() -> Machine:
    """Return this machine."""
    return Machine(_read(MACHINE_ID), "" if is_container() else _read(PRODUCT_UUID))


def is_container() -> bool:
    """Tell whether this is a container."""
    return any(os.path.exists(each) for each in CONTAINERS)


def parsed(content: bytes) -> str:
    """Return the digits of an identity; nothing for other text, or the zeros of hardware whose maker gave it none."""
    text = content.decode("ascii", "replace").strip().lower().replace("-", "")
    return text if re.fullmatch("[0-9a-f]{32}", text) and len(set(text)) > 1 else ""


def _read(path: Path) -> str:
    try:
        return parsed(read_file(path.resolve(), 1 << 16)[:SIZE])
    except (OSError, ForeignError):
        return ""


def _derived(value: str) -> str:
    """Return an identity as sd_id128_get_machine_app_specific(3) derives it: an HMAC, made a UUID of version 4."""
    made = bytearray(hmac.digest(bytes.fromhex(value), APPLICATION, hashlib.sha256)[:16])
    made[6] = (made[6] & 0x0F) | 0x40
    made[8] = (made[8] & 0x3F) | 0x80
    return made.hex()
