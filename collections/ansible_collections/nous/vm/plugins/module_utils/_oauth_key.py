# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signing key on disk: made once, proven ever after, never replaced.

Whatever changes in a directory happens under the lock of that directory, and a name appears in one step, complete or
not at all. So two runs that race make one key, and a run that is killed anywhere leaves nothing that the next one
cannot tell and put right.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import secrets
import stat
import time
import traceback
import typing as t

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
except ImportError:
    CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = None

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_BYTES = 64 * 1024  # a 16384 bit RSA key takes 12.5 kB
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
NOBODY_YET = -1  # a user or group that this host does not have


class KeyProblem(Exception):
    """The key cannot be made or trusted; the text is one sentence for the operator that says why and what to do."""


@dataclasses.dataclass(frozen=True)
class KeySpec:
    """What is asked for.

    path: absolute path of the private key. owner, group: names or numbers. mode: permission bits.
    algorithm: EdDSA, ES256 or RS256 (RFC 7518, RFC 8037). size: bits of a new RSA key; other algorithms ignore it.
    """

    path: str
    owner: str
    group: str
    mode: int
    algorithm: str
    size: int


@dataclasses.dataclass(frozen=True)
class KeyInfo:
    """The public half of a key.

    alg: its JWS algorithm. kid: its thumbprint (RFC 7638). fingerprint: SHA-256 of its SubjectPublicKeyInfo, in hex.
    """

    alg: str
    kid: str
    fingerprint: str


@dataclasses.dataclass
class Outcome:
    """What was found and done or, in check mode, would be done; nothing in it is secret.

    key: None while there is no key, or nothing to read it with. created: its last write, in seconds since the epoch.
    actions: of create_directory, remove_leftovers, create_key, set_permissions, in that order. before, after: diff.
    """

    before: dict[str, t.Any]
    after: dict[str, t.Any]
    key: KeyInfo | None = None
    created: float | None = None
    actions: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def age_days(self) -> int | None:
        """Whole days since the key was made."""
        return None if self.created is None else max(0, int((time.time() - self.created) // 86400))

    @property
    def created_utc(self) -> str | None:
        """When the key was made, by ISO 8601."""
        return None if self.created is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created))


# ---- Keys in memory


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _base64url_uint(number: int, length: int | None = None) -> str:
    """Encode as RFC 7518 does: big-endian, in the fewest bytes or, for a coordinate, in the curve's length."""
    return _base64url(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def public_jwk(key: PublicKey) -> dict[str, str]:
    """Return the members of a public key's JWK that identify it (RFC 7638 section 3.2, RFC 8037 section 2)."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    numbers = key.public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        return {"crv": "P-256", "kty": "EC", "x": _base64url_uint(numbers.x, 32), "y": _base64url_uint(numbers.y, 32)}
    return {"e": _base64url_uint(numbers.e), "kty": "RSA", "n": _base64url_uint(numbers.n)}


def thumbprint(jwk: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of a JWK of required members, base64url without padding (RFC 7638)."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode("ascii")).digest())


def generate_pem(algorithm: str, size: int) -> bytes:
    """Return a new private key as unencrypted PKCS#8 PEM."""
    key: PrivateKey
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_pem(pem: bytes, algorithm: str) -> KeyInfo:
    """Parse a private key, prove it by a signature and return its public half.

    Raises KeyProblem, its sentence without a subject, when pem is not a PKCS#8 key of the algorithm that signs.
    """
    advice = "restore it from a backup, or move it away to have a new key made"
    match = re.search(rb"-----BEGIN ([A-Z0-9 ]+)-----", pem)
    label = "" if match is None else match[1].decode("ascii")
    if not label:
        raise KeyProblem(f"holds no key in PEM; {advice}")
    if label == "ENCRYPTED PRIVATE KEY":
        raise KeyProblem(
            "is encrypted, and a service that starts by itself has no passphrase; "
            "decrypt it with openssl pkcs8, or move it away to have a new key made"
        )
    if label != "PRIVATE KEY":
        raise KeyProblem(
            f'holds a "{label}", not PKCS#8; '
            "convert it with openssl pkcs8 -topk8 -nocrypt, or move it away to have a new key made"
        )
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        found = _algorithm(key)
        if found == algorithm:
            return _proven(t.cast("PrivateKey", key), found)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise KeyProblem(f"holds a key that is corrupt: it cannot be parsed, or does not sign; {advice}") from None
    raise KeyProblem(
        f"holds a key for {found}, but {algorithm} was asked for; "
        "ask for what is there, or move the key away to have a new one made"
    )


def _algorithm(key: object) -> str:
    """Return the JWS algorithm that a private key serves or, of any other key, what it is."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ES256" if isinstance(key.curve, ec.SECP256R1) else f"the curve {key.curve.name}"
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256" if key.key_size >= MIN_RSA_BITS else f"RSA with {key.key_size} bits, fewer than RS256 needs"
    return type(key).__name__.replace("PrivateKey", "")


def _proven(key: PrivateKey, algorithm: str) -> KeyInfo:
    """Sign, verify and return the public half; raises InvalidSignature or ValueError if the halves are no pair."""
    message = b"nous.vm.oauth_key"
    public = key.public_key()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        key.public_key().verify(key.sign(message), message)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        ecdsa = ec.ECDSA(hashes.SHA256())
        key.public_key().verify(key.sign(message, ecdsa), message, ecdsa)
    else:
        pkcs1, sha256 = padding.PKCS1v15(), hashes.SHA256()
        key.public_key().verify(key.sign(message, pkcs1, sha256), message, pkcs1, sha256)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyInfo(alg=algorithm, kid=thumbprint(public_jwk(public)), fingerprint=hashlib.sha256(der).hexdigest())


# ---- Names and numbers


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return NOBODY_YET


def _gid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        return NOBODY_YET


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


# ---- Directories


@contextlib.contextmanager
def _locked(directory: str, operation: int) -> Iterator[int]:
    """Hold the lock of a directory; yield its descriptor."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except OSError as error:
            raise KeyProblem(
                f"{directory} cannot be locked ({error.strerror}), so that two runs could make two keys; "
                "keep the key on a local file system."
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _open_to_others(status: os.stat_result) -> bool:
    return bool(status.st_mode & 0o022)


def _unfinished(status: os.stat_result) -> bool:
    """Tell a directory that a run was killed over: it is made without a right to enter it, which is granted last."""
    return not status.st_mode & 0o111


def _judge_directory(directory: str, status: os.stat_result, trusted: set[int]) -> None:
    """Refuse a directory in which somebody who is not trusted could swap what lies in it."""
    if stat.S_ISLNK(status.st_mode):
        raise KeyProblem(
            f"{directory} is a symbolic link; name the key by its real path, below {os.path.realpath(directory)}."
        )
    if not stat.S_ISDIR(status.st_mode):
        raise KeyProblem(f"{directory} is not a directory; move it away, or choose another path.")
    if status.st_uid not in trusted:
        raise KeyProblem(
            f"{directory} belongs to {_user(status.st_uid)}, who could swap the key; "
            "give it to root or to the key's owner, or choose another path."
        )
    if _open_to_others(status) and not status.st_mode & stat.S_ISVTX:
        raise KeyProblem(
            f"{directory} has mode {_mode(status)}, so that others could swap the key; "
            f"take away their write permission (chmod go-w {directory}), or choose another path."
        )


def _missing_directories(directory: str, trusted: set[int]) -> list[str]:
    """Judge the directories on the way; return those that have yet to be made, or finished, outermost first."""
    way = [directory]
    while way[0] != "/":
        way.insert(0, os.path.dirname(way[0]))
    for position, step in enumerate(way):
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            return way[position:]
        _judge_directory(step, status, trusted)
        if _unfinished(status):
            return way[position:]
    return []


# ---- The key's file


def _leftovers(descriptor: int, name: str) -> dict[str, os.stat_result]:
    """Return the temporary files of runs that were killed. Only with the lock held: one that lives has one too."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.tmp")
    names = sorted(entry for entry in os.listdir(descriptor) if pattern.fullmatch(entry))
    found = {entry: os.stat(entry, dir_fd=descriptor, follow_symlinks=False) for entry in names}
    return {entry: status for entry, status in found.items() if stat.S_ISREG(status.st_mode)}


def _exists(descriptor: int, name: str) -> bool:
    """Tell whether something has the name, be it a link that points nowhere."""
    try:
        os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _create(descriptor: int, name: str, pem: bytes, mode: int, uid: int, gid: int) -> bool:
    """Give pem a name that it did not have; tell whether it was this run that did."""
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o600, dir_fd=descriptor)
    try:
        try:
            os.fchown(file, uid, gid)
            os.fchmod(file, mode)
            rest = memoryview(pem)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        # Unlike rename(2), link(2) never replaces: not even what somebody laid there who knows nothing of the lock.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor, follow_symlinks=False)
            return True
        return False
    finally:
        os.unlink(temporary, dir_fd=descriptor)
        os.fsync(descriptor)


def _judge_file(path: str, status: os.stat_result, links: int) -> None:
    """Refuse what is not a plain file with one name. links: names of the file that are known to go away."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFDIR: "a directory",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise KeyProblem(f"{path} is {kind}, not a plain file; move it away, or choose another path.")
    if status.st_nlink - links > 1:
        raise KeyProblem(
            f"{path} has {status.st_nlink - links} hard links, so that the key lies at another name too; "
            f"remove the other name (find / -xdev -samefile {path}), or move this one away."
        )


def _set_permissions(file: int, status: os.stat_result, mode: int, uid: int, gid: int) -> None:
    """Set owner and mode; in between nobody has more than both before and after."""
    os.fchmod(file, stat.S_IMODE(status.st_mode) & mode)
    os.fchown(file, uid, gid)
    os.fchmod(file, mode)
    os.fsync(file)


# ---- The one call


def ensure_key(spec: KeySpec, check_mode: bool) -> Outcome:
    """Make sure that the key is there and as asked or, in check mode, say what that would take.

    Raises KeyProblem when what is at the path, or around it, is not to be trusted, and when the system refuses.
    """
    if not os.path.isabs(spec.path) or os.path.normpath(spec.path) != spec.path or spec.path.startswith("//"):
        raise KeyProblem(
            f"path is {spec.path}; allowed is an absolute path without detours, for example /etc/nous/keys/signing.pem."
        )
    uid, gid = _uid(spec.owner), _gid(spec.group)
    for option, value, number in (("owner", spec.owner, uid), ("group", spec.group, gid)):
        if number == NOBODY_YET and not check_mode:
            raise KeyProblem(
                f"{option} is {value}, which this host does not have; make it first, or choose another, such as root."
            )
    try:
        return _Run(spec, check_mode, uid, gid).ensure()
    except OSError as error:
        raise KeyProblem(
            f"{spec.path} can be neither made nor read: {error.strerror}; put that right and run again."
        ) from error


class _Run:
    """One run; it changes nothing in check mode."""

    def __init__(self, spec: KeySpec, check_mode: bool, uid: int, gid: int) -> None:
        self.spec, self.check_mode, self.uid, self.gid = spec, check_mode, uid, gid
        self.directory, self.name = os.path.split(spec.path)
        self.trusted = {0, os.geteuid(), uid}
        self.permissions = {
            "owner": spec.owner if uid == NOBODY_YET else _user(uid),
            "group": spec.group if gid == NOBODY_YET else _group(gid),
            "mode": f"{spec.mode:04o}",
        }
        self.outcome = Outcome(
            before={"directory": "present", "key": "absent"},
            after={"directory": "present", "key": {"alg": spec.algorithm, **self.permissions}},
        )

    def ensure(self) -> Outcome:
        missing = _missing_directories(self.directory, self.trusted)
        if missing:
            self.outcome.before["directory"] = "absent"
            if self.check_mode:
                self.outcome.actions += ["create_directory", "create_key"]
                return self.outcome
        with contextlib.ExitStack() as locks:
            if missing:
                descriptor = self.make_directories(missing, locks)
            else:
                kind = fcntl.LOCK_SH if self.check_mode else fcntl.LOCK_EX
                descriptor = locks.enter_context(_locked(self.directory, kind))
            leftovers = _leftovers(descriptor, self.name)
            if leftovers:
                self.remove_leftovers(descriptor, leftovers)
            if not _exists(descriptor, self.name):
                if self.check_mode:
                    self.outcome.actions.append("create_key")
                    return self.outcome
                self.create_key(descriptor)
            self.prove_key(descriptor, leftovers)
        return self.outcome

    def make_directories(self, missing: list[str], locks: contextlib.ExitStack) -> int:
        """Make or finish directories, unless another run was faster; return the descriptor of the last, locked.

        A directory is locked before it can be entered, so that the run that makes it is the one that makes the key.
        """
        descriptor = locks.enter_context(_locked(os.path.dirname(missing[0]), fcntl.LOCK_EX))
        for directory in missing:
            name = os.path.basename(directory)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o400, dir_fd=descriptor)
            _judge_directory(directory, os.stat(name, dir_fd=descriptor, follow_symlinks=False), self.trusted)
            parent, descriptor = descriptor, locks.enter_context(_locked(directory, fcntl.LOCK_EX))
            if not _unfinished(os.fstat(descriptor)):
                continue
            if directory == self.directory:
                os.fchown(descriptor, self.uid, self.gid)
                os.fchmod(descriptor, 0o750 if self.spec.mode & stat.S_IRGRP else 0o700)
            else:
                os.fchown(descriptor, os.geteuid(), os.getegid())
                os.fchmod(descriptor, 0o755)
            os.fsync(descriptor)
            os.fsync(parent)
            self.outcome.actions[:] = ["create_directory"]
        return descriptor

    def remove_leftovers(self, descriptor: int, leftovers: Iterable[str]) -> None:
        self.outcome.actions.append("remove_leftovers")
        self.outcome.before["leftovers"], self.outcome.after["leftovers"] = list(leftovers), []
        if not self.check_mode:
            for name in leftovers:
                os.unlink(name, dir_fd=descriptor)
            os.fsync(descriptor)

    def create_key(self, descriptor: int) -> None:
        pem = generate_pem(self.spec.algorithm, self.spec.size)
        if _create(descriptor, self.name, pem, self.spec.mode, self.uid, self.gid):
            self.outcome.actions.append("create_key")

    def prove_key(self, descriptor: int, leftovers: dict[str, os.stat_result]) -> None:
        """Refuse a key that is not to be trusted, whoever made it; mend its owner and mode."""
        status = os.stat(self.name, dir_fd=descriptor, follow_symlinks=False)
        links = sum(other.st_ino == status.st_ino for other in leftovers.values()) if self.check_mode else 0
        _judge_file(self.spec.path, status, links)
        if _open_to_others(os.fstat(descriptor)) and status.st_uid not in self.trusted:
            raise KeyProblem(
                f"{self.spec.path} belongs to {_user(status.st_uid)} in a directory open to others, "
                "so that it may have been laid there to be trusted; move it away, or choose another path."
            )
        file = os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        try:
            self.outcome.created = status.st_mtime
            self.read_key(file)
            self.mend_permissions(file, status)
        finally:
            os.close(file)

    def read_key(self, file: int) -> None:
        if CRYPTOGRAPHY_ERROR is not None:
            self.outcome.warnings.append(
                f"{self.spec.path} cannot be proven before python3-cryptography is installed; "
                "only its owner and mode were looked at."
            )
            return
        try:
            self.outcome.key = read_pem(os.read(file, MAX_BYTES), self.spec.algorithm)
        except KeyProblem as problem:
            raise KeyProblem(f"{self.spec.path} {problem}.") from None

    def mend_permissions(self, file: int, status: os.stat_result) -> None:
        key = self.outcome.key
        public = {"alg": None if key is None else key.alg, "kid": None if key is None else key.kid}
        found = {"owner": _user(status.st_uid), "group": _group(status.st_gid), "mode": _mode(status)}
        self.outcome.after["key"] = {**public, **self.permissions}
        if "create_key" not in self.outcome.actions:
            self.outcome.before["key"] = {**public, **found}
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (self.uid, self.gid, self.spec.mode):
            return
        self.outcome.actions.append("set_permissions")
        if status.st_uid not in self.trusted or status.st_mode & 0o077 & ~self.spec.mode:
            self.outcome.warnings.append(
                f"{self.spec.path} was open to more than was asked for ({' '.join(found.values())}): "
                "whoever may have read it can sign with it, so think of a new key."
            )
        if not self.check_mode:
            _set_permissions(file, status, self.spec.mode, self.uid, self.gid)
