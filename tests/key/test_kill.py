"""SIGKILL at every system call of a run, by strace, and what a plain run makes of what is left."""

from __future__ import annotations

import collections
import os
import signal
from collections.abc import Callable

from keysets import FULL, Case, KeySet, traced

# What changes something, a lock among it. The whole form kills at what only looks, too.
CHANGES = {
    *("flock", "mkdirat", "fchown", "fchmod", "write", "fsync", "linkat", "unlinkat"),
    *("renameat", "renameat2", "utimensat"),
}


def calls(case: Case, fresh: Callable[[], KeySet]) -> list[tuple[str, int]]:
    """Return every system call of an undisturbed run that touches a file, as its name and its number among its like.

    Of three runs, those that all have: the C library looks for its name service cache once in a hundred look-ups.
    """
    runs = []
    for _run in range(3):
        keys = fresh()
        case.prepare(keys)
        status, lines = traced(keys, case, "--trace=%file,%desc,flock")
        assert os.waitstatus_to_exitcode(status) == 0
        seen: collections.Counter[str] = collections.Counter()
        found = set()
        for line in lines:
            name = line.partition("(")[0]
            seen[name] += 1
            if FULL or name in CHANGES or "O_CREAT" in line:
                found.add((name, seen[name]))
        runs.append(found)
    return sorted(set.intersection(*runs))


def test_killed_at_every_call(case: Case, fresh: Callable[[], KeySet]) -> None:
    points = calls(case, fresh)
    assert {"flock", "fsync"} <= {name for name, _number in points}
    for name, number in points:
        keys = fresh()
        case.prepare(keys)
        before = keys.signs()
        known = set(keys.published()) if keys.jwks.exists() else set()
        status, _lines = traced(keys, case, f"--trace={name}", f"--inject={name}:signal=KILL:when={number}")
        assert os.WIFSIGNALED(status), f"not killed at {name} {number}"
        assert os.WTERMSIG(status) == signal.SIGKILL

        # At once: a key that is whole and, if it follows another, published. None is lost.
        survivor = keys.signs()
        assert survivor is not None or before is None
        if case.rotation == "keep":
            assert before in (None, survivor)

        # A plain run, which is that of the site, clears up and neither publishes nor activates nor retires.
        published = set(keys.published()) if keys.jwks.exists() else None
        keys.run()
        signs = keys.signs()
        assert survivor in (None, signs)
        assert published in (None, set(keys.published()))
        assert [path.name for path in keys.root.rglob("*.tmp")] == []
        assert keys.run() == []

        # The same again goes on where it was, as check mode says, and ends as if nothing had happened.
        assert keys.run(case.rotation, check=True) == keys.run(case.rotation)
        keys.is_well(case.keys)
        if case.rotation == "begin":
            assert before in keys.published()
            assert keys.signs() not in known
    print(f"{case.name}: killed at {len(points)} system calls")
