# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signing key on disk: made once, proven ever after, published, and replaced only by a rotation.

The state of a key set is in its own files, so that every step of a rotation can be repeated after a crash:

    PATH        the key that signs
    PATH.next   the next one, from when it is made until it takes PATH
    JWKS_PATH   the public halves (RFC 7517). One that is neither of the two above is an old key: without an exp the
                service may still sign with it, because it was not restarted; from its exp on it may be taken away

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ansible_collections.nous.vm.plugins.module_utils._accounts import NOBODY_YET, gid_of, uid_of
from ansible_collections.nous.vm.plugins.module_utils._oauth_key_files import Directories, Name, Permissions
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import Jwk, KeyInfo, KeyProblem

DAY = 86400
NOT_YET_KNOWN = "(new)"  # stands for a kid in check mode


@dataclasses.dataclass(frozen=True)
class KeySpec:
    """What is requested, by the module's option names; modes are numbers.

    as_found: take algorithm, owners and modes as they are, for a run that only looks.
    """

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o600
    algorithm: str = "EdDSA"
    size: int = 3072
    jwks_path: str | None = None
    jwks_owner: str = "root"
    jwks_group: str = "root"
    jwks_mode: int = 0o640
    rotation: str = "keep"
    overlap_days: int = 31
    minimum_interval_days: int = 7
    rotate_after_days: int = 365
    as_found: bool = False


@dataclasses.dataclass
class Outcome:
    """What was found and done or, in check mode, would be done; nothing in it is secret.

    key: None while there is no key, or nothing to read it with. created: its last write, in seconds since the epoch.
    published: the set. before, after: diff.
    """

    spec: KeySpec
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    key: KeyInfo | None = None
    next_key: KeyInfo | None = None
    created: float | None = None
    published: list[Jwk] = dataclasses.field(default_factory=list)
    restart_needed: bool = False
    actions: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def did(self, action: str) -> None:
        """Note an action, once."""
        if action not in self.actions:
            self.actions.append(action)

    def result(self) -> dict[str, t.Any]:
        """Return what nous.vm.oauth_key returns."""
        return {"changed": bool(self.actions), **self.facts(), "actions": self.actions, "diff": {"before": self.before, "after": self.after}}

    def facts(self) -> dict[str, t.Any]:
        """Return what both modules return."""
        age_days = None if self.created is None else max(0, int((time.time() - self.created) // DAY))
        return {
            "path": self.spec.path,
            "jwks_path": self.spec.jwks_path,
            "alg": self.key.alg if self.key else None if self.spec.as_found else self.spec.algorithm,
            "kid": self.key and self.key.kid,
            "fingerprint": self.key and self.key.fingerprint,
            "created": None if self.created is None else _utc(self.created),
            "age_days": age_days,
            "rotation_due": age_days is not None and age_days >= self.spec.rotate_after_days,
            "next_kid": self.next_key and self.next_key.kid,
            "published": [{"kid": key["kid"], "alg": key.get("alg"), "until": _utc(key["exp"]) if "exp" in key else None} for key in self.published],
            "restart_needed": self.restart_needed,
        }


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def ensure_key(spec: KeySpec, check_mode: bool) -> Outcome:
    """Make sure that the key set is there and as requested or, in check mode, return what that would take.

    Raises KeyProblem when what is at the paths, or around them, is not to be trusted, and when the system denies it.
    """
    _judge_spec(spec, check_mode)
    try:
        # A look comes first, so that what is rejected is so before anything is changed.
        outcome = _Run(spec, check_mode=True).ensure()
        return outcome if check_mode else _Run(spec, check_mode=False).ensure()
    except OSError as error:
        raise KeyProblem(f"{spec.path} can be neither made nor read: {error.strerror}; put that right and run again.") from error


def examine_key(path: str, jwks_path: str | None, rotate_after_days: int) -> Outcome:
    """Look at a key set as it is; its key is None if there is none."""
    spec = KeySpec(path, jwks_path=jwks_path, rotate_after_days=rotate_after_days, as_found=True)
    return ensure_key(spec, check_mode=True)


def _judge_spec(spec: KeySpec, check_mode: bool) -> None:
    """Reject what cannot be done."""
    for option, path in (("path", spec.path), ("jwks_path", spec.jwks_path)):
        if path is not None and (not os.path.isabs(path) or os.path.normpath(path) != path or path.startswith("//")):
            example = {"path": "/etc/nous/keys/signing.pem", "jwks_path": "/etc/nous/jwks.json"}[option]
            raise KeyProblem(f"{option} is {path}; allowed is an absolute path without detours, for example {example}.")
    if spec.jwks_path in (spec.path, f"{spec.path}.next"):
        raise KeyProblem(f"jwks_path is {spec.jwks_path}, where a private key lies; allowed is a path of its own, for example /etc/nous/jwks.json.")
    for option, days, least in (
        ("overlap_days", spec.overlap_days, 0),
        ("minimum_interval_days", spec.minimum_interval_days, 0),
        ("rotate_after_days", spec.rotate_after_days, 1),
    ):
        if days < least:
            raise KeyProblem(f"{option} is {days}; allowed is a number of days from {least}, for example 31.")
    numbers = {"owner": uid_of(spec.owner), "group": gid_of(spec.group)}
    if spec.jwks_path is not None:
        numbers |= {"jwks_owner": uid_of(spec.jwks_owner), "jwks_group": gid_of(spec.jwks_group)}
    for option, number in numbers.items():
        if number == NOBODY_YET and not check_mode:
            raise KeyProblem(f"{option} is {getattr(spec, option)}, which this host does not have; make it first, or choose another, such as root.")


class _Run:
    """One run; it changes nothing in check mode."""

    def __init__(self, spec: KeySpec, check_mode: bool) -> None:
        self.spec, self.check_mode = spec, check_mode
        self.permissions = Permissions.named(spec.owner, spec.group, spec.mode)
        self.jwks_permissions = Permissions.named(spec.jwks_owner, spec.jwks_group, spec.jwks_mode)
        self.trusted = {0, os.geteuid(), self.permissions.uid}
        self.leftovers: dict[str, os.stat_result] = {}
        self.outcome = Outcome(spec)

    def ensure(self) -> Outcome:
        outcome, jwks = self.outcome, self.spec.jwks_path
        with contextlib.closing(Directories(self.trusted, look_only=self.check_mode)) as directories:
            # Whoever works on a key set takes the lock of its published half first.
            if jwks is not None:
                mine = Permissions(os.geteuid(), os.getegid(), 0o755)
                self.jwks = Name(directories.enter(os.path.dirname(jwks), mine), jwks)
            closed = self.permissions._replace(mode=0o750 if self.spec.mode & 0o040 else 0o700)
            directory = directories.enter(os.path.dirname(self.spec.path), closed)
            self.now = time.time()  # with the lock held: whoever comes later reads a later time
            self.key, self.next = Name(directory, self.spec.path), Name(directory, f"{self.spec.path}.next")
            outcome.before["directory"] = "absent" if directories.made else "present"
            outcome.after["directory"] = "present"
            if directories.made:
                outcome.did("create_directory")
            for name in (self.key, self.next) if jwks is None else (self.key, self.next, self.jwks):
                self.sweep(name)
            self.ensure_private()
            if jwks is not None:
                self.ensure_published()
        return outcome

    # ---- Any file

    def sweep(self, name: Name) -> None:
        """Remove what runs that were killed left behind."""
        leftovers = name.leftovers()
        if not leftovers:
            return
        self.leftovers |= leftovers
        self.outcome.did("remove_leftovers")
        self.outcome.before["leftovers"], self.outcome.after["leftovers"] = list(self.leftovers), []
        if not self.check_mode:
            name.sweep(leftovers)

    def judge(self, name: Name) -> Permissions:
        """Reject what is no plain file, or may be somebody else's."""
        status = os.stat(name.name, dir_fd=name.directory, follow_symlinks=False)
        leftovers = self.leftovers.values() if self.check_mode else ()
        name.judge(status, sum(os.path.samestat(other, status) for other in leftovers))
        if name.shared() and status.st_uid not in self.trusted:
            raise KeyProblem(
                f"{name.path} belongs to {Permissions.of(status).shown()['owner']} in a directory open to others, "
                "so that it may have been put there to be trusted; move it away, or choose another path."
            )
        if name is self.key:
            self.outcome.created = status.st_mtime
        return Permissions.of(status)

    def mend(self, name: Name, found: Permissions, wanted: Permissions, concern: str) -> None:
        """Set owner and mode; warn if that comes too late."""
        if self.spec.as_found or found == wanted:
            return
        self.outcome.did("set_permissions")
        if concern:
            seen = " ".join(found.shown().values())
            self.outcome.warnings.append(f"{name.path} ({seen}) {concern}.")
        if not self.check_mode:
            name.permit(found, wanted)

    def asked(self, wanted: Permissions, prefix: str = "") -> dict[str, str]:
        """Return permissions for a person, by the names that were requested where nobody has them yet."""
        shown = wanted.shown()
        for option, number in (("owner", wanted.uid), ("group", wanted.gid)):
            if number == NOBODY_YET:
                shown[option] = getattr(self.spec, prefix + option)
        return shown

    # ---- The private half

    def ensure_private(self) -> None:
        outcome, spec = self.outcome, self.spec
        if self.key.status() is None:
            outcome.before["key"] = "absent"
            if self.check_mode:
                outcome.did("create_key")
                outcome.after["key"] = {"alg": spec.algorithm, **self.asked(self.permissions)}
                return
            if self.create(self.key):
                outcome.did("create_key")
        # A rotation may lead from one algorithm to another, and until it ends there are keys of both.
        outcome.key = self.prove(self.key, spec.algorithm if spec.rotation == "keep" else None)
        if self.next.status() is not None:
            outcome.next_key = self.prove(self.next, None)

    def create(self, name: Name) -> bool:
        return name.create(jwk.generate_pem(self.spec.algorithm, self.spec.size), self.permissions)

    def prove(self, name: Name, algorithm: str | None) -> KeyInfo | None:
        """Reject a private key that is not to be trusted, whoever made it; mend its owner and mode."""
        found = self.judge(name)
        info = None
        if jwk.CRYPTOGRAPHY_ERROR is None:
            try:
                info = jwk.read_pem(name.read(), None if self.spec.as_found else algorithm)
            except KeyProblem as problem:
                raise KeyProblem(f"{name.path} {problem}.") from None
        elif name is self.key:
            self.outcome.warnings.append(f"{name.path} cannot be proven before python3-cryptography is installed; only its owner and mode were looked at.")
        public = {"alg": info and info.alg, "kid": info and info.kid}
        part = "key" if name is self.key else "next_key"
        self.outcome.before.setdefault(part, {**public, **found.shown()})
        self.outcome.after[part] = {**public, **self.asked(self.permissions)}
        concern = ""
        if found.uid not in self.trusted or found.mode & 0o077 & ~self.permissions.mode:
            concern = "was open to more than was requested: whoever may have read it can sign with it, so think of a new key"
        self.mend(name, found, self.permissions, concern)
        return info

    # ---- The published half

    def ensure_published(self) -> None:
        outcome = self.outcome
        found = self.read_published()
        keys = list(found or [])
        unread = outcome.key is None and "create_key" not in outcome.actions
        rotates = not unread and self.rotates()
        if not unread and not self.spec.as_found:
            keys = self.with_key(keys, outcome.key, "write_jwks")
            if rotates:
                keys = self.with_key(keys, self.ensure_next(), "publish_key")
            if self.spec.rotation == "finish":
                keys = self.dated(keys)
            if self.spec.rotation != "keep":
                keys = self.retired(keys)
        if keys != found and not self.check_mode:
            self.jwks.replace(jwk.render_jwks(keys), self.jwks_permissions)
        if rotates:
            self.activate()
        outcome.after["jwks"] = {"keys": _listed(keys), **self.asked(self.jwks_permissions, "jwks_")}
        outcome.published = keys
        outcome.restart_needed = not unread and any(key["kid"] not in self.live() and "exp" not in key for key in keys)

    def read_published(self) -> list[Jwk] | None:
        """Return the set that is published, None if none is; mend its owner and mode."""
        if self.jwks.status() is None:
            self.outcome.before["jwks"] = "absent"
            return None
        found = self.judge(self.jwks)
        try:
            keys = jwk.parse_jwks(self.jwks.read())
        except KeyProblem as problem:
            raise KeyProblem(f"{self.jwks.path} {problem}.") from None
        self.outcome.before["jwks"] = {"keys": _listed(keys), **found.shown()}
        concern = ""
        if found.uid not in self.trusted | {self.jwks_permissions.uid} or found.mode & 0o022:
            kids = ", ".join(key["kid"] for key in keys)
            concern = f"could be written to by more than was requested: look whether each of its keys is yours: {kids}"
        self.mend(self.jwks, found, self.jwks_permissions, concern)
        return keys

    def live(self) -> set[str]:
        """Return the kids of the keys that are no old ones."""
        infos = [self.outcome.key, self.outcome.next_key]
        return {NOT_YET_KNOWN} | {info.kid for info in infos if info is not None}

    def with_key(self, keys: list[Jwk], info: KeyInfo | None, action: str) -> list[Jwk]:
        """Return a set that holds a key exactly as it is to be published."""
        entry = {"kid": NOT_YET_KNOWN, "alg": self.spec.algorithm} if info is None else info.jwk
        if entry in keys:
            return keys
        self.outcome.did(action)
        return [entry, *(key for key in keys if key["kid"] != entry["kid"])]

    def dated(self, keys: list[Jwk]) -> list[Jwk]:
        """Return a set in which every old key has an end, overlap_days from now at the latest."""
        end, live = int(self.now) + self.spec.overlap_days * DAY, self.live()
        dated = [key if key["kid"] in live else {**key, "exp": min(end, key.get("exp", end))} for key in keys]
        if dated != keys:
            self.outcome.did("date_keys")
        return dated

    def retired(self, keys: list[Jwk]) -> list[Jwk]:
        """Return a set without the old keys whose time is over."""
        live = self.live()
        kept = [key for key in keys if key["kid"] in live or "exp" not in key or key["exp"] > self.now]
        if kept != keys:
            self.outcome.did("retire_keys")
        return kept

    # ---- Rotation

    def rotates(self) -> bool:
        """Tell whether a rotation was interrupted, or is requested and allowed."""
        if self.spec.rotation != "begin" or self.outcome.created is None or "create_key" in self.outcome.actions:
            return False
        allowed_from = self.outcome.created + self.spec.minimum_interval_days * DAY
        return self.next.status() is not None or self.now >= allowed_from

    def ensure_next(self) -> KeyInfo | None:
        """Return the next key, made if it is not there; None in check mode, which cannot know it."""
        if self.next.status() is None:
            self.outcome.did("make_next_key")
            if self.check_mode:
                return None
            self.create(self.next)
        self.outcome.next_key = self.prove(self.next, self.spec.algorithm)
        return self.outcome.next_key

    def activate(self) -> None:
        """Let the next key, which is published by now, take the place of the one that signs."""
        outcome = self.outcome
        outcome.did("activate_key")
        outcome.before.pop("next_key", None)
        after = outcome.after.pop("next_key", None)
        if self.check_mode:
            unknown = {"alg": self.spec.algorithm, "kid": NOT_YET_KNOWN, **self.asked(self.permissions)}
            outcome.key, outcome.created, outcome.after["key"] = outcome.next_key, None, after or unknown
        else:
            self.jwks.sync()  # a run that was killed may have left this out
            self.next.move_onto(self.key)
            outcome.key = self.prove(self.key, self.spec.algorithm)
        outcome.next_key = None


def _listed(keys: list[Jwk]) -> list[str]:
    """Return a line for each key, for a diff."""
    return [f"{key['kid']} {key.get('alg')}" + (f" until {_utc(key['exp'])}" if "exp" in key else "") for key in keys]
