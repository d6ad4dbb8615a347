# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: looking, validating, changing."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import typing as t

from .._accounts import NOBODY_YET, gid_of, uid_of
from ..nous_vm import programs
from . import disk
from .changes import MAX_SHOWN, Change, Outcome, difference
from .entries import Entry, FilesError, Validator
from .transaction import Transaction

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .disk import Owner

MAX_LINES = 10  # of a validator that fails
VALIDATION = 300.0  # seconds that a validator gets
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where validators are, and a login's PATH may not lead
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.nous-vm")


def write_set(entries: Sequence[Entry], validators: Sequence[Validator], check_mode: bool, diff_mode: bool) -> Outcome:
    """Write the set or, in check mode, return what that would change.

    Raises FilesError when the set cannot be written; then everything is as it was before, or the text names what is not.
    """
    run = Run(entries, check_mode, diff_mode)
    try:
        with run.held:
            return run.write(validators)
    except OSError as error:
        raise FilesError(f"{run.at}: {error.strerror}; nothing was changed.") from None


class Run:
    """One run; it changes nothing in check mode. at: the path that it looks at."""

    def __init__(self, entries: Sequence[Entry], check_mode: bool, diff_mode: bool) -> None:
        self.entries, self.check_mode, self.diff_mode = entries, check_mode, diff_mode
        self.files = [entry for entry in entries if entry.content is not None]
        self.made: dict[str, Entry] = {}
        self.uids = {name: uid_of(name) for name in {"root", *(entry.owner for entry in entries)}}
        self.gids = {name: gid_of(name) for name in {"root", *(entry.group for entry in entries)}}
        self.at = self.place = disk.workplace()
        self.held = contextlib.ExitStack()
        self.directories: dict[str, int] = {}
        self.leftovers: dict[str, list[str]] = {}
        self.outcome = Outcome()

    def write(self, validators: Sequence[Validator]) -> Outcome:
        self.reject_unknown_owners()
        self.held.enter_context(disk.held(self.place))
        self.find_directories()
        changes = [change for entry in [*self.made.values(), *self.files] if (change := self.look(entry)) is not None]
        changing = {change.entry.path for change in changes}
        running = [validator for validator in validators if validator.names & changing]
        if running:
            self.validate(running)
        self.report(changes)
        if self.outcome.changed_paths and not self.check_mode:
            self.change(changes)
        return self.outcome

    # -- Looking

    def reject_unknown_owners(self) -> None:
        for entry in self.entries:
            wanted = (("owner", entry.owner, self.uids[entry.owner]), ("group", entry.group, self.gids[entry.group]))
            for option, name, number in wanted:
                if number == NOBODY_YET and not self.check_mode:
                    raise FilesError(f"{entry.path} has the {option} {name}, which this host does not have; make it first, or choose another, such as root.")

    def owner(self, entry: Entry) -> Owner:
        return self.uids[entry.owner], self.gids[entry.group], entry.mode

    def find_directories(self) -> None:
        """List the directories of the set and what is missing above them, outermost first."""
        every = {entry.path: entry for entry in self.entries if entry.content is None}
        for path in list(every):
            parent = os.path.dirname(path)
            while parent not in every and not os.path.lexists(parent):
                every[parent] = Entry(parent, "root", "root", 0o755)
                parent = os.path.dirname(parent)
        self.made = {path: every[path] for path in sorted(every)}

    def parent(self, entry: Entry) -> int | None:
        """Return the directory that the entry lies in, or None if the set has yet to make it."""
        path = os.path.dirname(entry.path)
        if path in self.directories:
            return self.directories[path]
        try:
            descriptor = disk.open_directory(path)
        except FileNotFoundError:
            if path in self.made:
                return None
            raise FilesError(f"{entry.path} lies in {path}, which does not exist; add that to the set as a directory.") from None
        except NotADirectoryError:
            raise FilesError(f"{entry.path} lies in {path}, which is not a directory; move it away, or choose another path.") from None
        self.directories[path] = descriptor
        self.held.callback(os.close, descriptor)
        for name in sorted(os.listdir(descriptor)):
            match = TEMPORARY.fullmatch(name)
            if match is not None:
                self.leftovers.setdefault(os.path.join(path, match[1]), []).append(name)
        return descriptor

    def look(self, entry: Entry) -> Change | None:
        """Compare an entry with what is there; return what has to be changed, if anything."""
        self.at = entry.path
        directory, name = self.parent(entry), os.path.basename(entry.path)
        if directory is None:
            return Change(entry, None, rewrite=True)
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return Change(entry, None, rewrite=True)
        if disk.kind_of(found) != entry.kind:
            raise FilesError(f"{entry.path} is a {disk.kind_of(found)}, not a {entry.kind}; move it away, or choose another path.")
        change = Change(entry, found, rewrite=False)
        if entry.content is not None:
            if found.st_size == len(entry.content) or (self.diff_mode and found.st_size <= MAX_SHOWN):
                change.before = disk.read(name, directory, found.st_size + 1)
            change.rewrite = change.before != entry.content
        return change if change.rewrite or disk.owner_of(found) != self.owner(entry) else None

    def report(self, changes: Iterable[Change]) -> None:
        differences = {change.entry.path: difference(change) for change in changes}
        for path, names in self.leftovers.items():
            # Whoever waits for a change of this path was never told of the one that was under way.
            label = "left by a run that was killed"
            states = {"before": {label: names}, "after": {label: []}}
            differences.setdefault(path, {"before_header": path, "after_header": path, **states})
        self.outcome.changed_paths = list(differences)
        self.outcome.diff = list(differences.values()) if self.diff_mode else []

    # -- Validating

    def validate(self, validators: Sequence[Validator]) -> None:
        """Let the validators judge the set in a place of its own; a secret lies there only if one of them names it."""
        named = {path for validator in validators for path in validator.names}
        self.at = stage = f"{self.place}/{os.urandom(16).hex()}"
        os.mkdir(stage, 0o700)
        try:
            for entry in self.files:
                if entry.path in named or not entry.secret:
                    self.stage(stage, entry)
            if os.geteuid() == 0:
                self.open_stage(stage)
            for validator in validators:
                self.run(validator, stage)
        finally:
            shutil.rmtree(stage)

    def stage(self, stage: str, entry: Entry) -> None:
        directory, name = os.path.split(stage + entry.path)
        os.makedirs(directory, exist_ok=True)
        owner = self.owner(entry)
        if NOBODY_YET in owner:
            owner = (os.geteuid(), os.getegid(), 0o600)
        descriptor = disk.open_directory(directory)
        try:
            disk.write(name, descriptor, entry.content or b"", owner)
        finally:
            os.close(descriptor)

    def open_stage(self, stage: str) -> None:
        """Give the directories owner and mode of the real ones, so that a validator can see no more and no less."""
        for directory, _names, _files in os.walk(stage):
            path = directory.removeprefix(stage)
            owner: Owner = (0, 0, 0o711)
            if path in self.made:
                owner = self.owner(self.made[path])
            elif path:
                owner = disk.owner_of(os.stat(path))
            uid, gid, mode = (0, 0, 0o700) if NOBODY_YET in owner else owner
            os.chown(directory, uid, gid)
            os.chmod(directory, mode)

    def run(self, validator: Validator, stage: str) -> None:
        argv = validator.staged(stage)
        self.at = validator.argv[0]
        environment = {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_PATH])}
        missing = None if shutil.which(argv[0], path=environment["PATH"]) else f"the program {validator.argv[0]}"
        identity: dict[str, t.Any] = {}
        if validator.user is not None:
            try:
                user = pwd.getpwnam(validator.user)
            except KeyError:
                missing = f"the user {validator.user}"
            else:
                groups = os.getgrouplist(user.pw_name, user.pw_gid)
                identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}
                environment |= {"HOME": user.pw_dir, "LOGNAME": user.pw_name, "USER": user.pw_name}
        if missing is not None:
            problem = f'"{validator}" cannot validate the set, because this host does not have {missing}'
            if not self.check_mode:
                raise FilesError(f"{problem}; nothing was changed.")
            self.outcome.warnings.append(f"{problem} yet.")
            return
        done = programs.run(argv, timeout=VALIDATION, merge=True, env=environment, **identity)
        if done.returncode != 0:
            lines = (done.stdout or done.stderr).decode("utf-8", "replace").replace(stage, "").split("\n")
            words = " | ".join([line for line in lines if line.strip()][-MAX_LINES:]) or "it printed nothing."
            if any(entry.secret and entry.path in validator.names for entry in self.files):
                words = "what it printed is not shown, because it was given a secret."
            raise FilesError(f'"{validator}" rejects the set (exit code {done.returncode}), and nothing was changed: {words}')

    # -- Changing

    def change(self, changes: Sequence[Change]) -> None:
        """Write what differs; put everything back if that fails."""
        transaction = Transaction()
        try:
            self.take_steps(transaction, changes)
        except BaseException as error:
            lost = transaction.put_back()
            if not isinstance(error, OSError):
                raise
            state = ", ".join(lost) if lost else "everything is as it was before"
            raise FilesError(f"{transaction.at} cannot be written: {error.strerror}; {state}.") from None

    def take_steps(self, transaction: Transaction, changes: Sequence[Change]) -> None:
        for path, names in self.leftovers.items():
            transaction.at = path
            for name in names:
                transaction.remove(name, self.directories[os.path.dirname(path)])
        moves = []
        for change in changes:
            entry = change.entry
            transaction.at = entry.path
            parent, name = os.path.split(entry.path)
            directory = self.directories[parent]
            if entry.content is None:
                self.write_directory(transaction, change, name, directory)
            elif change.rewrite:
                new = transaction.prepare(name, directory, entry.content, self.owner(entry))
                old = None if change.found is None else transaction.keep(name, directory)
                moves.append((entry.path, name, directory, new, old))
        for change in changes:
            if change.entry.content is not None and not change.rewrite and change.found is not None:
                transaction.at = change.entry.path
                parent, name = os.path.split(change.entry.path)
                transaction.set_owner(name, self.directories[parent], self.owner(change.entry), disk.owner_of(change.found))
        for path, name, directory, new, old in moves:
            transaction.at = path
            transaction.replace(name, directory, new, old)
        transaction.finish()

    def write_directory(self, transaction: Transaction, change: Change, name: str, directory: int) -> None:
        if change.found is not None:
            transaction.set_owner(name, directory, self.owner(change.entry), disk.owner_of(change.found))
            return
        descriptor = transaction.make_directory(name, directory, self.owner(change.entry))
        self.directories[change.entry.path] = descriptor
        self.held.callback(os.close, descriptor)
