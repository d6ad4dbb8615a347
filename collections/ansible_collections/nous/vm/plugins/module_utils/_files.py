# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files and directories, written as one transaction: as requested, all of it, or as it was before.

Whatever appears under a name appears in one step, complete, synced, and with its final owner and mode. What it replaces
keeps a second name until the whole set is there, so that putting it back is a rename. All runs of a user on a host take
turns, so that a temporary name that a run finds was left by one that was killed.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import pwd
import re
import shutil
import stat
import tempfile
import typing as t

from ._accounts import NOBODY_YET, gid_of, group_name, uid_of, user_name
from .nous_vm import programs

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MAX_SHOWN = 104448  # bytes of a file that a diff shows, as in ansible-core's own
MAX_LINES = 10  # of a validator that fails
VALIDATION = 300.0  # seconds that a validator gets
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where validators are, and a login's PATH may not lead
PLACEHOLDER = re.compile(r"\{(/[^{}]*)\}")
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.nous-vm")

Owner = tuple[int, int, int]  # uid, gid, mode


class FilesError(Exception):
    """The set cannot be written; the text is one sentence for the operator that says why."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file or directory of the set.

    owner, group: names or numbers. mode: permission bits. content: None for a directory. secret: never show content.
    """

    path: str
    owner: str
    group: str
    mode: int
    content: bytes | None = None
    secret: bool = False

    @property
    def kind(self) -> str:
        """What stat calls it."""
        return "directory" if self.content is None else "file"


@dataclasses.dataclass(frozen=True)
class Validator:
    """A command that must succeed before anything is changed.

    argv: with {/path} for the staged version of a file of the set. user: who runs it, by name; None for this user.
    """

    argv: tuple[str, ...]
    user: str | None = None

    @property
    def names(self) -> set[str]:
        """The paths that it names."""
        return {path for argument in self.argv for path in PLACEHOLDER.findall(argument)}

    def staged(self, stage: str) -> list[str]:
        """Return the command for the versions that lie in stage."""
        return [PLACEHOLDER.sub(lambda match: stage + match[1], argument) for argument in self.argv]

    def __str__(self) -> str:
        return " ".join(self.staged(""))


@dataclasses.dataclass
class Change:
    """What has to become of one entry.

    found: what is there now, None if nothing is. rewrite: there is other content, or none. before: the old content,
    None if it is too long to show or nobody asked.
    """

    entry: Entry
    found: os.stat_result | None
    rewrite: bool
    before: bytes | None = None


@dataclasses.dataclass
class Outcome:
    """What was changed or, in check mode, would be; nothing in it is secret."""

    changed_paths: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


# ---- What is requested


def read_entries(files: Sequence[Mapping[str, t.Any]]) -> list[Entry]:
    """Return the entries that the option files describes; raise FilesError for the first that makes no sense."""
    entries = [_read_entry(given) for given in files]
    paths = [entry.path for entry in entries]
    for path in paths:
        if paths.count(path) > 1:
            raise FilesError(f"files has {path} more than once; allowed is one entry for each path.")
    return entries


def _read_entry(given: Mapping[str, t.Any]) -> Entry:
    path, directory = given["path"], given["state"] == "directory"
    contents = [name for name in ("content", "secret_content") if given[name] is not None]
    if not re.fullmatch("/[^/].*", path) or os.path.normpath(path) != path or not path.isprintable():
        raise FilesError(f"files has the path {path!r}; allowed is an absolute path without detours, for example /etc/nous/nous.env.")
    if directory and contents:
        raise FilesError(f"{path} is a directory with {contents[0]}; allowed is content for a file alone.")
    if not directory and len(contents) != 1:
        raise FilesError(
            f"{path} has {'both' if contents else 'neither'} content {'and' if contents else 'nor'} secret_content; "
            'a file has one of them, for example content: "".'
        )
    mode = given["mode"] or ("0755" if directory else "0644")
    if not re.fullmatch("[0-7]{4}", mode):
        raise FilesError(f'{path} has the mode "{mode}"; allowed are four octal digits in quotes, for example "0644".')
    content = None
    if not directory:
        try:
            content = given[contents[0]].encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise FilesError(f"{path} has a {contents[0]} that cannot be written as UTF-8; allowed is text.") from None
    return Entry(path, given["owner"], given["group"], int(mode, 8), content, "secret_content" in contents)


def read_validators(validate: Sequence[Mapping[str, t.Any]], entries: Iterable[Entry]) -> list[Validator]:
    """Return the validators that the option validate describes; raise FilesError for the first that makes no sense."""
    files = [entry.path for entry in entries if entry.content is not None]
    validators = [Validator(tuple(given["argv"]), given["user"]) for given in validate]
    for validator in validators:
        if not validator.names:
            raise FilesError(
                f'validate has the command "{validator}", which names no file of the set, so that it would never run; '
                "allowed is a command with at least one path in braces, for example {/etc/nous/nous.env}."
            )
        for path in sorted(validator.names.difference(files)):
            raise FilesError(
                f"validate names {{{path}}}, which is no file of the set; allowed are "
                f"{', '.join(f'{{{each}}}' for each in files) or 'none, because the set has no files'}."
            )
    return validators


# ---- Kinds and owners


def _kind(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "FIFO",
        stat.S_IFDIR: "directory",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds[stat.S_IFMT(status.st_mode)]


def _owner(status: os.stat_result) -> Owner:
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


# ---- The disk


def _open_directory(path: str, parent: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)


def _read(name: str, directory: int, limit: int) -> bytes:
    """Return the first limit bytes of a file, and nothing of what leads elsewhere."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        return file.read(limit)


def _write(name: str, directory: int, content: bytes, owner: Owner) -> None:
    """Make a file that was not there; it has its owner and mode before it has content."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.fchown(descriptor, owner[0], owner[1])
        os.fchmod(descriptor, owner[2])
        rest = memoryview(content)
        while rest:
            written = os.write(descriptor, rest)
            rest = rest[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_owner(name: str, directory: int, owner: Owner) -> None:
    """Set owner and mode of what is there; in between nobody has more than both before and after."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        before = _owner(os.fstat(descriptor))
        if before == owner:
            return
        os.fchmod(descriptor, before[2] & owner[2])
        os.fchown(descriptor, owner[0], owner[1])
        os.fchmod(descriptor, owner[2])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(name: str, directory: int) -> None:
    """Remove a file or an empty directory, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=directory)


def _workplace() -> str:
    """Return the directory in which this user's sets are staged."""
    if os.geteuid() == 0:
        return "/run/nous-vm-files"
    return f"{os.path.realpath(tempfile.gettempdir())}/nous-vm-files-{os.geteuid()}"


@contextlib.contextmanager
def _held(place: str) -> Iterator[None]:
    """Hold the directory in which sets are staged, so that this is the only run of this user on this host.

    Others can neither list it nor open it, so that they can neither find a stage nor hold the lock.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o700)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise FilesError(f"{place} belongs to {user_name(os.fstat(descriptor).st_uid)}; remove it and run again.")
        os.fchmod(descriptor, 0o711)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for name in os.listdir(descriptor):
            shutil.rmtree(f"{place}/{name}")
        yield
    finally:
        os.close(descriptor)


# ---- What a diff shows


def _shown(content: bytes | None, length: int) -> str:
    """Return content as a diff shows it; None stands for one that was not read."""
    if content is None or length > MAX_SHOWN:
        return f"({length} bytes, too many to show)\n"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"({length} bytes that are not UTF-8)\n"


def _difference(change: Change) -> dict[str, t.Any]:
    """Return the entry of the diff for one path."""
    entry, found = change.entry, change.found
    after = {"state": entry.kind, "owner": entry.owner, "group": entry.group, "mode": f"{entry.mode:04o}"}
    before: dict[str, str] = {"state": "absent"}
    if found is not None:
        names = {"owner": user_name(found.st_uid), "group": group_name(found.st_gid)}
        before = {"state": entry.kind, **names, "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
    if entry.content is not None and change.rewrite:
        if entry.secret:
            before |= {} if found is None else {"content": "differs from the requested secret"}
            after["content"] = "the requested secret"
        else:
            old = "" if found is None else _shown(change.before, found.st_size)
            new = _shown(entry.content, len(entry.content))
            if old != new:
                headers = [f"{entry.path} ({_headline(state)})" for state in (before, after)]
                return {"before_header": headers[0], "after_header": headers[1], "before": old, "after": new}
            if found is not None:
                after["content"] = "other content, which cannot be shown"
    return {"before_header": entry.path, "after_header": entry.path, "before": before, "after": after}


def _headline(state: Mapping[str, str]) -> str:
    return state["state"] if len(state) == 1 else f"{state['owner']}:{state['group']} {state['mode']}"


# ---- Changes that can be rolled back


class _Transaction:
    """Steps that change the disk. at: the path that is being changed."""

    def __init__(self) -> None:
        self.at = ""
        self.back: list[tuple[str, Callable[[], None]]] = []
        self.second_names: list[tuple[str, int]] = []
        self.touched: set[int] = set()

    def remove(self, name: str, directory: int) -> None:
        """Remove what a killed run left; it cannot be rolled back, and need not be."""
        _remove(name, directory)
        self.touched.add(directory)

    def make_directory(self, name: str, directory: int, owner: Owner) -> int:
        """Make a directory; return its descriptor."""
        new = self.temporary(name, directory)
        os.mkdir(new, 0o700, dir_fd=directory)
        _set_owner(new, directory, owner)
        self.move(new, name, directory, functools.partial(_remove, name, directory))
        return _open_directory(name, directory)

    def set_owner(self, name: str, directory: int, owner: Owner, before: Owner) -> None:
        """Set owner and mode of what is there."""
        self.back.append((f"{self.at} could not be put back", functools.partial(_set_owner, name, directory, before)))
        _set_owner(name, directory, owner)

    def prepare(self, name: str, directory: int, content: bytes, owner: Owner) -> str:
        """Write a file under a temporary name; return that."""
        new = self.temporary(name, directory)
        _write(new, directory, content, owner)
        return new

    def keep(self, name: str, directory: int) -> str:
        """Give a file a second name; return that."""
        old = self.temporary(name, directory)
        os.link(name, old, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        self.second_names.append((old, directory))
        return old

    def replace(self, name: str, directory: int, new: str, old: str | None) -> None:
        """Move a file into place; old is the second name of what is there."""
        if old is None:
            self.move(new, name, directory, functools.partial(_remove, name, directory))
        else:
            put_back = functools.partial(os.rename, old, name, src_dir_fd=directory, dst_dir_fd=directory)
            self.move(new, name, directory, put_back)

    def temporary(self, name: str, directory: int) -> str:
        """Return a temporary name; a rollback removes what has it."""
        temporary = f".{name}.{os.urandom(8).hex()}.nous-vm"
        path = os.path.join(os.path.dirname(self.at), temporary)
        self.back.append((f"{path} could not be removed", functools.partial(_remove, temporary, directory)))
        return temporary

    def move(self, new: str, name: str, directory: int, put_back: Callable[[], None]) -> None:
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        self.back.append((f"{self.at} could not be put back", put_back))
        self.touched.add(directory)

    def finish(self) -> None:
        """Sync all names to the disk; then nothing can be rolled back."""
        for directory in self.touched:
            os.fsync(directory)
        self.back.clear()
        for name, directory in self.second_names:
            with contextlib.suppress(OSError):  # the next run finds it
                _remove(name, directory)

    def put_back(self) -> list[str]:
        """Go back, step by step; return what could not be done, and why."""
        lost = []
        for failure, step in reversed(self.back):
            try:
                step()
            except OSError as error:
                lost.append(f"{failure} ({error.strerror})")
        for directory in self.touched:
            with contextlib.suppress(OSError):
                os.fsync(directory)
        return lost


# ---- The one call


def write_set(entries: Sequence[Entry], validators: Sequence[Validator], check_mode: bool, diff_mode: bool) -> Outcome:
    """Write the set or, in check mode, return what that would change.

    Raises FilesError when the set cannot be written; then everything is as it was before, or the text names what is not.
    """
    run = _Run(entries, check_mode, diff_mode)
    try:
        with run.held:
            return run.write(validators)
    except OSError as error:
        raise FilesError(f"{run.at}: {error.strerror}; nothing was changed.") from None


class _Run:
    """One run; it changes nothing in check mode. at: the path that it looks at."""

    def __init__(self, entries: Sequence[Entry], check_mode: bool, diff_mode: bool) -> None:
        self.entries, self.check_mode, self.diff_mode = entries, check_mode, diff_mode
        self.files = [entry for entry in entries if entry.content is not None]
        self.made: dict[str, Entry] = {}
        self.uids = {name: uid_of(name) for name in {"root", *(entry.owner for entry in entries)}}
        self.gids = {name: gid_of(name) for name in {"root", *(entry.group for entry in entries)}}
        self.at = self.place = _workplace()
        self.held = contextlib.ExitStack()
        self.directories: dict[str, int] = {}
        self.leftovers: dict[str, list[str]] = {}
        self.outcome = Outcome()

    def write(self, validators: Sequence[Validator]) -> Outcome:
        self.reject_unknown_owners()
        self.held.enter_context(_held(self.place))
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
            descriptor = _open_directory(path)
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
        if _kind(found) != entry.kind:
            raise FilesError(f"{entry.path} is a {_kind(found)}, not a {entry.kind}; move it away, or choose another path.")
        change = Change(entry, found, rewrite=False)
        if entry.content is not None:
            if found.st_size == len(entry.content) or (self.diff_mode and found.st_size <= MAX_SHOWN):
                change.before = _read(name, directory, found.st_size + 1)
            change.rewrite = change.before != entry.content
        return change if change.rewrite or _owner(found) != self.owner(entry) else None

    def report(self, changes: Iterable[Change]) -> None:
        differences = {change.entry.path: _difference(change) for change in changes}
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
        descriptor = _open_directory(directory)
        try:
            _write(name, descriptor, entry.content or b"", owner)
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
                owner = _owner(os.stat(path))
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
        transaction = _Transaction()
        try:
            self.take_steps(transaction, changes)
        except BaseException as error:
            lost = transaction.put_back()
            if not isinstance(error, OSError):
                raise
            state = ", ".join(lost) if lost else "everything is as it was before"
            raise FilesError(f"{transaction.at} cannot be written: {error.strerror}; {state}.") from None

    def take_steps(self, transaction: _Transaction, changes: Sequence[Change]) -> None:
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
                transaction.set_owner(name, self.directories[parent], self.owner(change.entry), _owner(change.found))
        for path, name, directory, new, old in moves:
            transaction.at = path
            transaction.replace(name, directory, new, old)
        transaction.finish()

    def write_directory(self, transaction: _Transaction, change: Change, name: str, directory: int) -> None:
        if change.found is not None:
            transaction.set_owner(name, directory, self.owner(change.entry), _owner(change.found))
            return
        descriptor = transaction.make_directory(name, directory, self.owner(change.entry))
        self.directories[change.entry.path] = descriptor
        self.held.callback(os.close, descriptor)
