# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why restic failed, from what versions 0.18 and 0.19 print, and for how long it is let try."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite import operations, restic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

from .conftest import Site

OPEN = "Fatal: unable to open repository at sftp:root@storage:/srv"
SESSION = f"{OPEN}: unable to start the sftp session, error: error receiving version packet from server: server unexpectedly closed connection: unexpected EOF"
ENDED = "\x1b[2Ksignal terminated received, cleaning up\nFatal: unable to open config file: context canceled\n"
WHERE = "Is there a repository at the following location?\nrest:https://storage:8000/nous/\n"
HEAD = 'Head "https://{}storage:8000/nous/config": dial tcp 160.79.104.20:8000: connect: connection refused'
AGAIN = f"Stat(<config/>) returned error, retrying after 651.8ms: {HEAD.format('nous:***@')}\n"
SIGNATURE = "Stat: The request signature we calculated does not match the signature you provided. Check your key and signing method."
ERRORS = {
    "another password": ("Fatal: wrong password or no key found\n", "wrong password or no key found"),
    "rejected": (
        f"Stat(<config/>) failed: unexpected HTTP response (401): 401 Unauthorized\nFatal: unable to open config file: unexpected HTTP response (401)\n{WHERE}",
        "unable to open config file: unexpected HTTP response (401)",
    ),
    "out of reach": (AGAIN * 3 + ENDED + WHERE, f"tried again until the time was over: {HEAD.format('')}"),
    "out of reach, and killed": (AGAIN, f"tried again until the time was over: {HEAD.format('')}"),
    "another key of S3": (
        f"Stat(<config/>) returned error, retrying after 1.3s: {SIGNATURE}\n{ENDED}s3:https://storage:9000/nous\n",
        f"tried again until the time was over: {SIGNATURE}",
    ),
    "back in time, and something else": (f"{AGAIN}Stat(<config/>) operation successful after 1 retries\nFatal: no space left\n", "no space left"),
    "a key that ssh does not take": (
        f"subprocess ssh: root@storage: Permission denied (publickey).\n{SESSION}\n",
        "ssh: root@storage: Permission denied (publickey).",
    ),
    "a host that ssh does not reach": (
        f"subprocess ssh: ssh: connect to host storage port 23: Connection refused\n{SESSION}\n",
        "ssh: connect to host storage port 23: Connection refused",
    ),
    "ssh without a word": (f"{SESSION}\n", SESSION.removeprefix("Fatal: ")),
    "as JSON": (
        '{"message_type":"exit_error","code":1,"message":"Fatal: unable to save snapshot: no space left on device"}\n',
        "unable to save snapshot: no space left on device",
    ),
    "as other JSON": ('{"x": 1}\n{broken\n', "{broken"),
    "nothing": ("", "exit code 1 without a message"),
}


@pytest.mark.parametrize(("printed", "wanted"), ERRORS.values(), ids=ERRORS.keys())
def test_why_it_failed(printed: str, wanted: str) -> None:
    assert restic.reason(Completed(1, b"", printed.encode())) == wanted


def test_what_ssh_complained_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh has a log of its own, because restic often ends before it has printed that; what is in it of the command before is none of this one's."""
    log = restic.SSH_LOG
    log.write_text("of the command before\n")
    site.repository.made = True
    monkeypatch.setattr(
        site.repository, "do_cat", lambda _words: log.write_text("x\r\nHost key verification failed.\r\n") and Completed(1, b"", SESSION.encode())
    )
    with pytest.raises(NousVmError, match=r"cannot be used: ssh: Host key verification failed[.]$"):
        operations.back_up(site.about)
    monkeypatch.setattr(site.repository, "do_cat", lambda _words: Completed(1, b"", SESSION.encode()))
    with pytest.raises(NousVmError, match=r"unexpected EOF$"):
        operations.back_up(site.about)


def test_how_long_a_repository_is_looked_for(site: Site) -> None:
    """Minutes, before a backup and before a drill, and longer for who waits for a lock; what is found then may take its time."""
    operations.back_up(site.about)
    assert site.repository.times["cat"] == restic.LOOK < restic.SHORT
    site.repository.locked = "held"
    with pytest.raises(NousVmError):
        operations.back_up(site.about)
    assert site.repository.times["cat"] == restic.LOOK + restic.WAIT
    site.repository.locked, site.repository.broken = "", "cat"
    assert "the repository cannot be used: wrong password" in operations.drill(site.about)["why"]
    site.repository.broken, site.repository.made = "", False
    assert operations.drill(site.about)["why"] == "the repository cannot be used: it is gone"
