# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take this host from its first boot to a running nous: install Ansible and the collection nous.vm, and run its site playbook here.

nous-vm-first-boot.service runs it until it has worked once, at later boots too. What is done is not done again, and the site playbook goes on where it
was. What fails is reported in one line, on the console, to who logs in, and in `cloud-init status --long`.

This file is a part of user-data, and runs before anything of the collection is here: it needs only the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

UNIT = "nous-vm-first-boot.service"
CONFIG, INVENTORY = Path("/etc/nous-vm/first-boot.json"), Path("/etc/nous-vm/first-boot.yml")
DONE = Path("/var/lib/nous-vm/first-boot.done")
WORK = Path("/opt/nous-vm")  # what only the first boot needs; it is gone afterwards
BIN, COLLECTIONS = WORK / "ansible/bin", WORK / "collections"
SECRETS = Path("/run/nous-vm-first-boot.secrets")
MOTD = Path("/run/motd.d/nous-vm")
STATUS = Path("/var/lib/cloud/data/status.json")
ATTEMPTS = 12
GIVEN_UP = 3  # the unit does not try again after this exit code
LINES, LINE, REASON = 1000, 2000, 600  # lines of a program that are kept, characters of one of them, and of a reason
DOWNLOAD, DOWNLOAD_TIME, SILENCE = 1 << 30, 900.0, 60.0  # most bytes of a file, seconds for all of it, and without a byte
SECRETS_TIME = 300.0  # seconds for the command that prints secrets
LOCK_TIME, LOCK_POLL = 600.0, 2.0  # seconds that somebody else may hold a lock of dpkg or apt, and between two attempts
LOCKED = re.compile(r"\block(ed)?\b", re.IGNORECASE)  # as apt-get and dpkg complain of it
CAUSE = re.compile(r"(?:\[?error\]?[:!]|fatal:|e:) ?(.*)", re.IGNORECASE)
NETWORK = re.compile(r"name resolution|Could not resolve|Name or service not known|Connection refused|Network is unreachable|No route to host|timed out")


class StepError(Exception):
    """A step that failed; the text is which, and why."""


def printable(text: str, limit: int) -> str:
    """Return foreign text on one line, at most LIMIT characters, those that would reach a terminal as controls escaped."""
    words = " ".join(text[: 4 * limit].split())
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in words)[:limit]


def cause(lines: Iterable[str]) -> str:
    """Return what a program gave as the reason, in one line: the last line that has one, or the last of all."""
    latest = [line.strip() for line in lines if line.strip()][::-1]
    reasons = [found[1] for line in latest if (found := CAUSE.match(line))]
    last = reasons[0] if reasons else latest[0] if latest else "it printed nothing"
    if found := re.search(r"=> (\{.*\})", last):  # a task of Ansible
        with contextlib.suppress(ValueError):
            last = str(json.loads(found[1]).get("msg", last))
    network = next((found[0] for line in latest if (found := NETWORK.search(line))), "")
    return printable(last, REASON) + (f" ({network})" if network and network not in last else "")


def run(step: str, *argv: str | Path) -> None:
    """Run a program, let its output through, and fail with its reason; the unit's own limit ends one that hangs."""
    write(f"== {step}")
    lines: deque[str] = deque(maxlen=LINES)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        while line := process.stdout.readline(LINE) if process.stdout else "":
            lines.append(line)
            write(printable(line, LINE))
    if process.returncode != 0:
        raise StepError(f"{step}: {cause(lines)}")


def is_complete(what: str, version: str) -> bool:
    stamp = WORK / f"{what}.complete"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == version


def complete(what: str, version: str) -> None:
    """Note that something is complete, on disk too: the power may be cut at any time."""
    os.sync()
    (WORK / f"{what}.complete").write_text(version, encoding="utf-8")


def install_packages(names: list[str]) -> None:
    """Install what is missing of the distribution's packages; a host that has all asks no mirror."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names]
    installed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    if missing := [name for name in names if f"{name} installed" not in installed]:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        # Whoever installs something at a first boot too, or did when the power was cut.
        with contextlib.suppress(StepError):  # what it leaves over, apt-get mends, or says why it cannot
            patiently("interrupted installations", "dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
        patiently("package lists", "apt-get", "--quiet=2", "update", "--error-on=any")
        patiently("packages", "apt-get", "--quiet=2", "install", "--yes", "--no-install-recommends", "--fix-broken", *missing)


def patiently(step: str, *argv: str) -> None:
    """Run a program that needs a lock of dpkg or apt, and wait for whoever holds it: the Timeout that apt-get has for it is not for all of them."""
    deadline = time.monotonic() + LOCK_TIME
    while True:
        try:
            return run(step, *argv)
        except StepError as error:
            if not LOCKED.search(str(error)) or time.monotonic() > deadline:
                raise
        time.sleep(LOCK_POLL)


def install_ansible(python: str, lock: str) -> None:
    """Make the virtual environment of Ansible, unless it is there: what the lock names, from wheels alone, which run nothing, each with a hash of the lock."""
    if not is_complete("ansible-core", lock):
        run("environment for Ansible", python, "-m", "venv", "--clear", BIN.parent)
        requirements = WORK / "ansible-core.txt"
        requirements.write_text(lock, encoding="utf-8")
        name = lock.partition(" ")[0].replace("==", " ")
        how = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "--no-deps"]
        run(name, BIN / "pip", "install", *how, "--requirement", requirements)
        complete("ansible-core", lock)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url: str, sha256: str, path: Path) -> None:
    """Download a file, within limits of size and time, and give it its name only if it has this SHA-256."""
    if path.exists() and digest(path) == sha256:
        return
    write(f"== {url}")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, deadline = path.with_suffix(".part"), time.monotonic() + DOWNLOAD_TIME
    try:
        with urllib.request.build_opener().open(url, timeout=SILENCE) as answer, aside.open("wb") as file:
            while block := answer.read1(1 << 20):
                file.write(block)
                if file.tell() > DOWNLOAD or time.monotonic() > deadline:
                    raise OSError(f"it has more than {DOWNLOAD} bytes or takes longer than {DOWNLOAD_TIME:g} s")
    except OSError as error:
        raise StepError(f"{url}: {printable(str(error), REASON)}") from error
    if (found := digest(aside)) != sha256:
        raise StepError(f"{url}: its SHA-256 is {found}, not {sha256}")
    aside.replace(path)


def install_collection(source: str, sha256: str) -> None:
    """Install the collection, unless it is there."""
    if is_complete("collection", source + sha256):
        return
    name = source
    if sha256:
        name = str(WORK / "nous-vm.tar.gz")
        fetch(source, sha256, Path(name))
    run(f"collection {source}", BIN / "ansible-galaxy", "collection", "install", "--force", "--collections-path", COLLECTIONS, name)
    complete("collection", source + sha256)


def run_site(secrets: list[str]) -> None:
    """Run the site playbook, with the secrets that a command prints; they are in memory alone, and only meanwhile."""
    extra = []
    try:
        if secrets:
            write(f"== secrets by {secrets[0]}")
            try:
                done = subprocess.run(secrets, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, timeout=SECRETS_TIME)
            except subprocess.TimeoutExpired:
                raise StepError(f"nous_vm_secrets_command {secrets[0]} did not end within {SECRETS_TIME:g} s") from None
            if done.returncode != 0:
                raise StepError(f"nous_vm_secrets_command {secrets[0]} ended with exit code {done.returncode}")
            with open(os.open(SECRETS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(done.stdout)
            extra = ["--extra-vars", f"@{SECRETS}"]
        run("nous.vm.site", BIN / "ansible-playbook", "nous.vm.site", "--inventory", INVENTORY, *extra)
    finally:
        SECRETS.unlink(missing_ok=True)


def provision() -> None:
    """Go from whatever is here to a host in its expected state."""
    SECRETS.unlink(missing_ok=True)  # of a run that was killed
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    os.environ.update({"HOME": "/root", "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"} | config["environment"])
    install_packages(config["packages"])
    install_ansible(config["python"], config["ansible_lock"])
    install_collection(config["collection"], config["collection_sha256"])
    for file in config["files"]:
        fetch(file["url"], file["sha256"], Path(file["path"]))
    run_site(config["secrets_command"])
    if subprocess.run(["systemctl", "start", "nous-vm-ready.service"], check=False).returncode != 0:
        raise StepError(printable(MOTD.read_text(encoding="utf-8"), REASON))
    shutil.rmtree(WORK)
    os.sync()
    DONE.parent.mkdir(parents=True, exist_ok=True)
    DONE.touch()


def record(problem: str) -> None:
    """Put the line, or its absence, into cloud-init's status, in the place of what it has of the same itself."""
    if STATUS.exists():
        status = json.loads(STATUS.read_text(encoding="utf-8"))
        stage = status["v1"]["modules-final"]
        own = re.compile(r"nous-vm-first-boot: |.*failures \(runcmd\)|.*\bmodule scripts-user\b")
        stage["errors"] = [error for error in stage["errors"] if not own.match(error)] + ([problem] if problem else [])
        recoverable = {level: [line for line in lines if not own.match(line)] for level, lines in stage["recoverable_errors"].items()}
        stage["recoverable_errors"] = {level: lines for level, lines in recoverable.items() if lines}
        aside = STATUS.with_suffix(".nous-vm")
        aside.write_text(json.dumps(status), encoding="utf-8")
        aside.replace(STATUS)


def report(problem: str) -> None:
    """Print the line everywhere; to cloud-init when its last stage, which may be waiting for this very unit, has written what it knows."""
    write(problem or "nous-vm-first-boot: nous runs, and this host is in its expected state")
    if problem:
        MOTD.parent.mkdir(parents=True, exist_ok=True)
        MOTD.write_text(f"{problem}\n", encoding="utf-8")
    later = ["systemd-run", "--quiet", "--no-block", "--collect", "--property=After=cloud-final.service"]
    subprocess.run([*later, sys.executable, "-I", __file__, f"--record={problem}"], check=False)


def attempt() -> int:
    """Return which attempt of the unit this is, from 1 on."""
    shown = subprocess.run(["systemctl", "show", "--value", "--property=NRestarts", UNIT], capture_output=True, text=True, check=False).stdout
    return 1 + int(shown or 0)


def write(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def end(_signal: int, _frame: object) -> NoReturn:
    """End by way of the finally clauses: a handler of SIGTERM."""
    raise SystemExit(1)


def main(words: list[str] | None = None) -> int:
    """Do it, or report why not; return the exit code: 0 done, 1 to be tried again, 3 given up until the next boot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", metavar="LINE", help="only put the line into cloud-init's status")
    if (line := parser.parse_args(words).record) is not None:
        record(line)
        return 0
    signal.signal(signal.SIGTERM, end)  # so that no secret stays
    number = attempt()
    try:
        provision()
    except (StepError, OSError, ValueError, LookupError, http.client.HTTPException) as error:
        last = number >= ATTEMPTS
        then = "it is tried again at the next boot" if last else "it is tried again soon"
        why = str(error) if isinstance(error, StepError) else printable(repr(error), REASON)
        report(f"nous-vm-first-boot: {why} (attempt {number} of {ATTEMPTS}; {then}, or now with: sudo systemctl restart nous-vm-first-boot)")
        return GIVEN_UP if last else 1
    report("")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
