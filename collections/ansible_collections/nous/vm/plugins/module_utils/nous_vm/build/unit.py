# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units that a build works in, each closed for what it does not need.

fetch   the network, and no source that runs; of root's keys and passwords those that its URL needs, lent as credentials
build   whatever the source says, without a network

Both have an account that exists meanwhile and owns nothing, a root directory with an allow list of the host's files, and a folder in memory of a bounded size.
What they made comes out through a pipe, to root, who runs none of it. build() is what others call: the work is done in a unit of its own, which ends though
whoever asked for it does not wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..atomic import write
from ..errors import ForeignError, NousVmError, UsageError
from ..foreign import parse_json, printable
from ..locks import FOLDER, file, held
from ..names import COMMAND, LIBRARY, PYTHON, names
from ..programs import run
from ..sandbox import NO_SOCKETS, Value, directives
from ..systemd import systemctl, transient, wait_until_forgotten
from . import stream
from .configuration import CACHE, Configuration
from .store import FOLDER as STORE
from .tools import BuildError, causes

LOCK = "build"
LONGEST = 5400.0  # seconds that whoever asked waits, another build before this one included
WAIT = 3600.0  # seconds that a build waits for another
FETCH, BUILD = 1800.0, 1800.0  # seconds that a unit may take
NICE = 10  # the server that runs comes first
HOME = Path("/root")
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from importlib import import_module; import_module(sys.argv[2]).main()"
COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
# What programs need of a host. With a hyphen, what need not be there.
SYSTEM = ["/usr/bin", "/usr/lib", "-/usr/lib32", "-/usr/lib64", "-/usr/include", "-/usr/libexec", "-/usr/share/python3", "-/etc/ld.so.cache"]
SYSTEM += ["-/etc/alternatives", "-/etc/localtime", "-/usr/share/zoneinfo"]
NETWORK = ["/etc/resolv.conf", "-/etc/hosts", "-/etc/nsswitch.conf", "-/etc/host.conf", "-/etc/gai.conf", "-/etc/ssl", "-/usr/share/ca-certificates"]
NETWORK += ["-/usr/local/share/ca-certificates", "-/etc/gitconfig", "-/etc/ssh/ssh_known_hosts", "-/run/systemd/resolve", "-/usr/share/git-core"]
# The host's own otherwise, of any size. A tmpfs cannot be put over those that an account that exists meanwhile has to itself: nothing is written there.
MEMORY, TEMPORARY = "/dev/shm", "+/tmp +/var/tmp"  # noqa: S108
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
DYNAMIC = range(61184, 65520)  # uids of accounts that exist meanwhile


class Answer(NamedTuple):
    """What a unit answered: the result at the end of its stream, and what came before it, as it was written."""

    result: dict[str, Any]
    tree: stream.Tree


class Units:
    """The two units."""

    def __init__(self, configuration: Configuration, work: Path) -> None:
        self.configuration, self.work = configuration, work
        self.limit = configuration.space << 20

    def fetch(self, request: dict[str, Any], into: Path) -> Answer:
        """Have something fetched (fetch.py), and written into a folder."""
        known = self.configuration
        request |= {"folder": "/work", "environment": known.environment, "space": self.limit, "uv": known.uv, "python": known.python}
        return self._ask("fetch", list(fetch_properties(known, self.work, self.limit)), request, stream.Receiver(into, self.limit), FETCH)

    def build(self, request: dict[str, Any], into: Path) -> Answer:
        """Have a release built (make.py), and written into a folder."""
        known = self.configuration
        folder = known.releases / known.release  # where it will be, whatever it is written into for now
        request |= {"folder": str(folder), "uv": known.uv, "python": known.python}
        interpreters = {known.python, os.path.realpath(known.python)}
        return self._ask("make", list(build_properties(known, self.work, folder, self.limit)), request, stream.Receiver(into, self.limit, interpreters), BUILD)

    def _ask(self, module: str, properties: list[str], request: dict[str, Any], receiver: stream.Receiver, longest: float) -> Answer:
        unit = names().fetch if module == "fetch" else names().build
        systemctl("stop", unit)  # of a build that was killed
        wait_until_forgotten(unit)  # if it is not, systemd-run says so
        options = [f"--description={'Fetch what a release is made of' if module == 'fetch' else 'Build a release'}"]
        argv = transient(unit, [*properties, f"RuntimeMaxSec={longest:g}"], [PYTHON, "-I", "-c", PROGRAM, LIBRARY, f"nous_vm.build.{module}"], options=options)
        readable, writable = os.pipe2(os.O_CLOEXEC)
        got: list[dict[str, Any] | Exception] = []

        def receive() -> None:
            with open(readable, "rb") as source:  # closed early, it ends a unit that sends what it may not
                try:
                    got.append(receiver.receive(source))
                except (ForeignError, OSError) as error:
                    got.append(error)

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            with open(writable, "wb") as out:
                done = run(argv, timeout=longest + 30, stdin=json.dumps(request).encode(), stdout=out)
        finally:
            systemctl("stop", unit)
            thread.join()
        (answer,) = got
        if isinstance(answer, Exception):
            why = causes(done) if isinstance(answer, stream.EndedError) and done.stderr else str(answer)
            raise BuildError(f"error: what the {unit} made cannot be taken: {why}")
        if error := answer.get("error"):
            raise StepError(str(error), str(answer.get("step")))
        return Answer(answer, receiver.lines.tree())


class StepError(BuildError):
    """A unit found that there is no release, at a step of its own."""

    def __init__(self, text: str, step: str) -> None:
        super().__init__(printable(text, 3000))
        self.step = printable(step)


def build(configuration: Configuration, release: str, again: bool = False) -> dict[str, Any]:
    """Build a release in a unit of its own; return what the command prints: changed, release, reason and step. Raises UsageError, NousVmError."""
    if release != configuration.release:
        raise UsageError(f"the configuration of the build is for {configuration.release}, not for {release}")
    umask = os.umask(0o022)  # whoever asked, the server has to read below it
    try:
        for folder in (configuration.releases, configuration.building, CACHE, STORE):
            folder.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(umask)
    words = ["build", release, "--config=-", "--here", "--json", *(["--again"] if again else [])]
    done = run(transient("", list(properties(configuration)), [COMMAND, *words]), timeout=LONGEST, stdin=configuration.text().encode())
    try:
        return parse_json(done.stdout, "the build's answer")
    except ForeignError:
        raise NousVmError(f"the build of {release} was interrupted: {done.complaint}") from None


def newest_commit(configuration: Configuration) -> str:
    """Return the newest commit of the branch; raise BuildError if nobody can tell."""
    if configuration.source["kind"] != "git":
        raise BuildError("the source is no git repository")
    with held(LOCK, "query the newest commit", wait=WAIT):
        work = CACHE / "building"
        found = Units(configuration, work).fetch({"do": "newest", "version": "3.12", "source": configuration.source}, work / "none").result
    commit = printable(str(found.get("commit")))
    if not COMMIT.fullmatch(commit):
        raise BuildError(f"{commit} is no commit")
    return commit


def properties(configuration: Configuration) -> Iterator[str]:
    """Yield the properties of the unit that root works in: it runs nothing of the source, and asks systemd for the two others."""
    yield from directives({"UMask": "0022", "ProtectHome": "read-only", "SyslogIdentifier": "nous-build"})
    writes = [configuration.root, CACHE, *([configuration.archive.parent] if configuration.archive else [])]
    yield from (f"ReadWritePaths=-{path}" for path in writes)
    yield f"ReadWritePaths={file(LOCK).parent}"


def _both(configuration: Configuration, root: Path, folder: str, limit: int, changes: dict[str, Value], reads: list[str]) -> Iterator[str]:
    """Yield what both units have: an account, a root directory, limits."""
    skeleton(root)
    tools = [str(Path(path).parent.parent) for path in (configuration.python, configuration.uv) if not path.startswith("/usr/bin/")]
    about: dict[str, Value] = {
        "DynamicUser": True,
        "RootDirectory": str(root),
        "MountAPIVFS": True,
        "ProtectProc": "invisible",
        "ProcSubset": "pid",
        "PrivateUsers": True,
        "RemoveIPC": True,
        "UMask": "0022",
        "TemporaryFileSystem": [
            f"{folder}:size={limit},nr_inodes={2 * stream.ENTRIES},mode=1777,nosuid,nodev",
            f"{MEMORY}:size=64M,mode=1777,nosuid,nodev",
        ],
        "ReadOnlyPaths": TEMPORARY,
        "BindReadOnlyPaths": [*SYSTEM, *tools, str(LIBRARY), *reads],
        "MemoryMax": limit + (2 << 30),
        "TasksMax": 512,
        "LimitNPROC": 512,
        "LimitFSIZE": limit,
        "LimitNOFILE": 8192,
        "Nice": NICE,
        "OOMScoreAdjust": 900,
        "TimeoutStopSec": "5s",
    }
    yield from directives(about | changes)


def skeleton(root: Path) -> None:
    """Make a root directory for a unit, in which systemd makes the places of what is bound there."""
    with contextlib.suppress(FileExistsError):
        root.mkdir(mode=0o755, parents=True)
    root.chmod(0o755)
    for name, target in LINKS.items():
        if Path("/", name).is_symlink() and not (root / name).is_symlink():
            (root / name).symlink_to(target)


def build_properties(configuration: Configuration, work: Path, folder: Path, limit: int) -> Iterator[str]:
    """Yield the properties of the build unit."""
    changes: dict[str, Value] = {"RestrictAddressFamilies": NO_SOCKETS, "IPAddressDeny": "any", "SyslogIdentifier": "nous-build"}
    reads = [f"-{work}/fetched/source:/fetched/source", f"{work}/files:/fetched/files"]
    yield from _both(configuration, FOLDER / "build-root", str(folder), limit, changes, reads)


def fetch_properties(configuration: Configuration, work: Path, limit: int) -> Iterator[str]:
    """Yield the properties of the fetch unit."""
    changes: dict[str, Value] = {
        "PrivateNetwork": False,
        "RestrictAddressFamilies": "AF_INET AF_INET6",  # no AF_UNIX: nothing of the host is to be asked
        "SocketBindDeny": "any",
        "SocketBindAllow": "ipv4:udp:1",  # without any, systemd 255.4 denies nothing (issue 30556)
        "SyslogIdentifier": "nous-fetch",
        "LoadCredential": [f"{name}:{path}" for name, path in lent(configuration)],
    }
    url = urlsplit(configuration.source.get("url", ""))
    reads = [f"-{work / 'archive'}:/archive", *NETWORK, *(f"-{value}" for value in configuration.environment.values() if value.startswith("/"))]
    reads += [f"-{url.path}"] if url.scheme == "file" else []
    reads += [f"{accounts()}:/etc/passwd"] if is_ssh(configuration) or configuration.source.get("signers") else []
    yield from _both(configuration, FOLDER / "fetch-root", "/work", limit, changes, reads)


def is_ssh(configuration: Configuration) -> bool:
    """Tell whether the source comes over ssh."""
    url = str(configuration.source.get("url", ""))
    return configuration.source["kind"] == "git" and (url.startswith("ssh://") or "://" not in url)


def lent(configuration: Configuration) -> Iterator[tuple[str, Path]]:
    """Yield root's keys and passwords that the fetch unit needs: for ssh the keys, otherwise the passwords."""
    if is_ssh(configuration):
        found = [path for path in sorted((HOME / ".ssh").glob("id_*")) if path.suffix != ".pub"] + [HOME / ".ssh/known_hosts"]
    else:
        found = [HOME / ".git-credentials"]
    yield from ((path.name.removeprefix("."), path) for path in [*found, HOME / ".netrc"] if path.is_file())


def accounts() -> Path:
    """Return a list of accounts with all that exist meanwhile: ssh and ssh-keygen end if their own has no name, and who knows it is asked over AF_UNIX."""
    path = file(LOCK).with_name("accounts")
    write(path, "".join(f"nous-fetch:x:{uid}:{uid}::/nowhere:/usr/sbin/nologin\n" for uid in DYNAMIC).encode(), 0o644)
    return path
