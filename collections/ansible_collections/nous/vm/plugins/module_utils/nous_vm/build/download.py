# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from the network, each known by its SHA-256, within limits of size and time."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import netrc
import os
import time
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from ..foreign import printable
from .pylock import Package
from .tools import BuildError

SILENCE = 60.0  # seconds without a byte
TIME = 1200.0  # seconds for one file
ATTEMPTS = 3
AT_ONCE = 8
BLOCK = 1 << 18


def download(packages: Iterable[Package], folder: Path, limit: int) -> None:
    """Download the files of packages into a folder, each under its SHA-256."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _done in pool.map(lambda package: _download(package, folder / package.sha256, limit), packages):
            pass


def _download(package: Package, path: Path, limit: int) -> None:
    why = ""
    for attempt in range(ATTEMPTS):
        try:
            found = _once(package.url, path, limit)
            if found == package.sha256:
                return
            why = f"Hash mismatch for `{package.name}=={package.version}`: its SHA-256 is {found}, and the lock has {package.sha256}"
        except (OSError, ValueError, HTTPException) as error:
            why = printable(str(error))
        time.sleep(attempt)
    raise BuildError(f"error: {printable(package.url)}: {why}")


def _once(url: str, path: Path, limit: int) -> str:
    """Download a file and return its SHA-256."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("its URL begins with neither https:// nor http://")
    known, deadline, left = hashlib.sha256(), time.monotonic() + TIME, limit
    with urllib.request.build_opener().open(_request(url), timeout=SILENCE) as answer, path.open("wb") as file:
        while block := answer.read1(BLOCK):
            left -= len(block)
            if left < 0 or time.monotonic() > deadline:
                raise OSError(f"it has more than {limit} bytes, or takes longer than {TIME:g} s")
            known.update(block)
            file.write(block)
    return known.hexdigest()


def _request(url: str) -> urllib.request.Request:
    """Return a request, with the name and password that root's .netrc has for the host."""
    request = urllib.request.Request(url, headers={"User-Agent": "nous-vm"})  # noqa: S310 - _once() has seen the scheme
    with contextlib.suppress(OSError, netrc.NetrcParseError, KeyError):
        known = netrc.netrc(os.environ["NETRC"]).authenticators(urlsplit(url).hostname or "")
        if known and urlsplit(url).scheme == "https":
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(f'{known[0]}:{known[2]}'.encode()).decode()}")
    return request
