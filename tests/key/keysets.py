"""Key sets, and runs of the module's logic in processes of their own, which can be traced, killed and raced.

NOUS_VM_KEY=full is the whole form: every system call that touches a file, 200 rounds of each race.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import read_pem

FULL = os.environ.get("NOUS_VM_KEY") == "full"
STRACE = shutil.which("strace") or "strace"  # a machine without it fails, and does not skip


class KeySet:
    """A key set on disk: keys/signing.pem and jwks.json below a directory that does not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path, self.jwks = root / "etc/keys/signing.pem", root / "etc/jwks.json"
        self.next = Path(f"{self.path}.next")
        uid, gid = str(os.geteuid()), str(os.getegid())
        self.spec = KeySpec(str(self.path), uid, gid, jwks_path=str(self.jwks), jwks_owner=uid, jwks_group=gid)

    def run(self, rotation: str = "keep", check: bool = False) -> list[str]:
        return ensure_key(dataclasses.replace(self.spec, rotation=rotation), check).actions

    def age(self) -> None:
        """Make the key old enough for a rotation."""
        os.utime(self.path, (0, 0))

    def published(self) -> dict[str, dict[str, Any]]:
        return {key["kid"]: key for key in json.loads(self.jwks.read_bytes())["keys"]}

    def signs(self) -> str | None:
        """Return the kid of the key that signs, None if there is none yet. It is whole and, if there is a set, published."""
        if not self.path.exists():
            return None
        kid = read_pem(self.path.read_bytes(), "EdDSA").kid
        assert not self.jwks.exists() or kid in self.published()
        return kid

    def is_well(self, keys: int = 1) -> None:
        """One key that is whole and published, of keys that are published; modes as requested; nothing left over, nothing to do."""
        found = {str(path.relative_to(self.root)): stat.S_IMODE(path.stat().st_mode) for path in self.root.rglob("*")}
        wanted = {"etc": 0o755, "etc/keys": 0o700, "etc/keys/signing.pem": 0o600, "etc/jwks.json": 0o640}
        assert found == wanted
        assert self.path.stat().st_nlink == self.jwks.stat().st_nlink == 1
        assert self.signs() in self.published()
        assert len(self.published()) == keys
        assert self.run() == []


@dataclasses.dataclass(frozen=True)
class Case:
    """What there is before a run, what the run is to do, and how many keys are published after it."""

    name: str
    prepare: Callable[[KeySet], object]
    rotation: str = "keep"
    keys: int = 1


def _leftover(keys: KeySet) -> None:
    keys.run()
    keys.path.with_name(".signing.pem.0123456789abcdef.tmp").write_bytes(b"half")
    keys.jwks.with_name(".jwks.json.0123456789abcdef.tmp").write_bytes(b"half")


def _wrong_modes(keys: KeySet) -> None:
    keys.run()
    keys.path.chmod(0o644)
    keys.jwks.chmod(0o666)


def _old(keys: KeySet) -> None:
    keys.run()
    keys.age()


def _restarted(keys: KeySet) -> None:
    _old(keys)
    keys.run("begin")


def _over(keys: KeySet) -> None:
    """The overlap of one rotation is over, and another may begin."""
    _restarted(keys)
    keys.run("finish")
    entries = [{**key, "exp": 1} if "exp" in key else key for key in keys.published().values()]
    keys.jwks.write_text(json.dumps({"keys": entries}), encoding="ascii")
    keys.age()


CASES = [
    Case("create", lambda _keys: None),
    Case("sweep", _leftover),
    Case("mend", _wrong_modes),
    Case("begin", _old, "begin", 2),
    Case("finish", _restarted, "finish", 2),
    Case("retire-and-begin", _over, "begin", 2),
]


# ---- Processes


def child(run: Callable[[], int]) -> int:
    """Fork; the child ends with what run() returns, or 99 if it breaks."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(run())
        finally:
            os._exit(99)
    return pid


def traced(keys: KeySet, case: Case, *options: str) -> tuple[int, list[str]]:
    """Run a case under strace, attached just before it begins; return how it ended, as waitpid has it, and the trace."""

    def run() -> int:
        gc.disable()  # what it closes and when is no two times the same
        os.kill(os.getpid(), signal.SIGSTOP)
        keys.run(case.rotation)
        return 0

    pid = child(run)
    os.waitpid(pid, os.WUNTRACED)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        command = [STRACE, "--output", output.name, "--attach", str(pid), *options]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert strace.stderr is not None
        printed = strace.stderr.readline()
        assert "attached" in printed, printed
        os.kill(pid, signal.SIGCONT)
        status = os.waitpid(pid, 0)[1]
        strace.stderr.read()
        strace.stderr.close()
        strace.wait()
        return status, [line.rstrip("\n") for line in output if re.match(r"\w+\(", line)]
