# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build runs what the source says, so it runs in a unit of its own, which ends though whoever asked for it does not wait.

There it has the network and root's name, none of root's rights, and may write to releases that are not complete and to the installer's cache alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ForeignError, NousVmError, UsageError
from ..foreign import parse_json
from ..locks import FOLDER, file, held
from ..names import COMMAND
from ..programs import run
from ..sandbox import directives
from ..systemd import transient
from .builder import Builder
from .configuration import CACHE, Configuration
from .release import COMPLETE
from .tools import Tools

LOCK = "build"
LONGEST = 5400.0  # seconds that whoever asked waits, another build before this one included
WAIT = 3600.0  # seconds that a build waits for another
NICE = 10  # the server that runs comes first


def build(configuration: Configuration, release: str) -> dict[str, Any]:
    """Build a release in a unit of its own; return what the command prints: changed, release, reason and step. Raises UsageError, NousVmError."""
    if release != configuration.release:
        raise UsageError(f"the configuration of the build is for {configuration.release}, not for {release}")
    umask = os.umask(0o022)  # whoever asked, the server has to read below it
    try:
        for folder in (configuration.releases, Path(configuration.variables.get("UV_CACHE_DIR", CACHE))):
            folder.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(umask)
    argv = transient("", list(properties(configuration)), [COMMAND, "build", release, "--config=-", "--here", "--json"])
    done = run(argv, timeout=LONGEST, stdin=configuration.text().encode())
    try:
        return parse_json(done.stdout, "the build's answer")
    except ForeignError:
        raise NousVmError(f"the build of {release} was interrupted: {done.complaint}") from None


def properties(configuration: Configuration) -> Iterator[str]:
    """Yield the properties of the unit."""
    yield from directives(
        {
            "PrivateNetwork": False,
            "RestrictAddressFamilies": "AF_INET AF_INET6",  # no AF_UNIX: to who asks there with root's name, systemd gives all of root's rights
            "SocketBindDeny": "any",
            "SocketBindAllow": "ipv4:udp:1",  # without any, systemd 255.4 denies nothing (issue 30556)
            "ProtectHome": "read-only",  # a key for git over ssh may be root's
            "UMask": "0022",
            "SyslogIdentifier": "nous-build",
        }
    )
    folder = configuration.releases / configuration.release
    writes = [configuration.releases, Path(configuration.variables["UV_CACHE_DIR"])]
    writes += [configuration.archive.parent] if configuration.archive else []
    yield from (f"ReadWritePaths=-{path}" for path in writes)
    yield from (f"ReadOnlyPaths=-{path.parent}" for path in configuration.releases.glob(f"*/{COMPLETE}") if path.parent != folder)
    # Of all locks it has its own: it could hold another by reading it.
    yield from (f"TemporaryFileSystem={FOLDER}:ro,mode=0700", f"BindPaths={file(LOCK)}")
    yield from (f"InaccessiblePaths=-{path}" for path in configuration.hidden)


def build_here(configuration: Configuration) -> dict[str, Any]:
    """Build the release in this process, with all that it may do; another build is waited for."""
    os.umask(0o022)
    os.nice(NICE)
    configuration.releases.mkdir(parents=True, exist_ok=True)
    with held(LOCK, f"build {configuration.release}", wait=WAIT) as descriptor:
        return Builder(configuration, Tools(configuration, descriptor)).run()
