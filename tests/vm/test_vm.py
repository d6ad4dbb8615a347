# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The story of one VM, told in order: its first boot, a life as an ordinary host, and power cuts, after each of which it serves and has lost nothing."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest
from controller import REPOSITORY

from . import timeline
from .conftest import WORK, Nous

LOGS, KEYS, ROOT = "/var/log/nous", "/etc/nous/keys", "/opt/nous"
LOG, SEGMENT = f"{LOGS}/audit.jsonl", f"{LOGS}/.segment/audit.jsonl"
ROTATION = "audit-logrotate-nous.service"
# The chain follows every link, oldest record first, and raises where one does not lead on: lost, torn, doubled or changed.
FOUND = f"""
import chain, json, pathlib, sqlite3
log = pathlib.Path("{LOG}")
calls = sqlite3.connect("file:/var/lib/nous/state.db?mode=ro", uri=True).execute("SELECT call_id FROM executed")
print(json.dumps([[record["entry_hash"] for record in chain.walk(chain.files(log))], [call_id for (call_id,) in calls]]))
"""


def tell(nous: Nous) -> None:
    """Have something done that is never to be lost again: told to a client, and flushed to the disk."""
    number = str(len(nous.recorded))
    nous.recorded.append(nous.call(text=number, call_id=number)["result"]["entry_hash"])
    nous.machine.ssh("sync")


def assert_expected_state(nous: Nous) -> None:
    """It serves, nothing that was told and flushed is lost, the flags are right, and the host's own check agrees."""
    tell(nous)
    nous.put(REPOSITORY / "tests/standin/chain.py")
    records, calls = json.loads(nous.machine.ssh(f"PYTHONPATH=/run/test python3 -B -c {shlex.quote(FOUND)}"))
    assert [record for record in nous.recorded if records.count(record) != 1] == []
    assert [number for number in range(len(nous.recorded)) if calls.count(str(number)) != 1] == []
    flags = nous.machine.ssh(f"lsattr -d {LOG}*").splitlines()
    assert [line for line in flags if ("a" if line.endswith(LOG) else "i") not in line.split()[0]] == []
    unfinished = re.compile("partial|journal|kept|deployment")
    names = nous.machine.ssh(f"find {LOGS} {ROOT} -maxdepth 2 -printf '%f\\n'").split()
    assert [name for name in names if unfinished.search(name)] == []
    nous.machine.ssh("nous-vm check")


def test_from_power_on_to_the_first_answer(nous: Nous) -> None:
    machine = nous.machine
    machine.power_on()
    machine.wait_on_console("Linux version", 0)
    kernel = time.monotonic() - machine.on_since
    nous.ready(0)
    nous.trust()
    tell(nous)
    answered = time.monotonic() - machine.on_since
    network, ready = [
        float(machine.ssh(f"systemctl show --value --property=ActiveEnterTimestampMonotonic {unit}")) / 1e6
        for unit in ("network-online.target", "nous-vm-ready.target")
    ]
    journal = machine.ssh("journalctl --quiet --boot --unit=nous-vm-first-boot --output=json --output-fields=MESSAGE")
    (WORK / "journal.json").write_text(journal, encoding="utf-8")
    found = timeline.parts(journal, kernel, network, ready, answered)
    print(f"\n{timeline.table(found)}")
    (WORK / "timeline.svg").write_text(timeline.picture(found), encoding="utf-8")
    assert machine.ssh("cloud-init status --wait --long | grep -E '^(status|errors):'") == "status: done\nerrors: []"
    assert_expected_state(nous)


def test_the_first_remote_run_changes_nothing(nous: Nous) -> None:
    output = nous.play("site")
    assert re.search(r"changed=0 .*failed=0 ", output), output[-6000:]


def test_a_reboot(nous: Nous) -> None:
    since = nous.machine.printed()
    # It ends with the connection that it was asked through.
    nous.machine.ssh("systemctl reboot", check=False)
    nous.machine.master.unlink(missing_ok=True)
    nous.ready(since)
    assert_expected_state(nous)


def test_a_rotation(nous: Nous) -> None:
    nous.machine.ssh(f"systemctl start {ROTATION}")
    assert nous.machine.ssh(f"ls {LOG}.*") == f"{LOG}.1"
    assert_expected_state(nous)


def test_verify(nous: Nous) -> None:
    output = nous.play("verify")
    assert " failed=0 " in output, output[-6000:]


@pytest.mark.parametrize(("what", "expected"), [("memory", "ended by signal 9"), ("tasks", r"denied after \d+ of \d+\nended by signal 9")])
def test_a_limit_is_enforced(nous: Nous, what: str, expected: str) -> None:
    """Something in the server's own control group takes more and more, on a kernel that has the say over all of them."""
    nous.put(REPOSITORY / "tests/vm/eat.py")
    output = nous.machine.ssh(f"python3 -B /run/test/eat.py nous.service {what}")
    assert re.fullmatch(expected, output), output
    if what == "memory":
        kernel = nous.machine.ssh("journalctl --quiet --dmesg --output=cat --case-sensitive=no --grep='out of memory: Killed process'")
        assert {line.split(":")[0] for line in kernel.splitlines()} == {"Memory cgroup out of memory"}, "the whole host ran out of memory"
    assert_expected_state(nous)


# What is cut: how it is begun on the VM, and what is there, for the first time, when the power goes.
ROTATIONS = {
    "the bytes are copied": f"[ -e {SEGMENT}.partial ]",
    "the log is about to be cut": f"[ -s {SEGMENT}.journal ]",
    "archives are shifted": f"set -- {LOG}.*; [ $# -gt {{archives}} ]",
}
KEYS_MADE = {"the key is written": f"set -- {KEYS}/.*.tmp; [ -e $1 ]", "the key has its name": f"[ -e {KEYS}/signing.pem.next ]"}
DEPLOYMENTS = {"it is written down": f"[ -e {ROOT}/deployment.json ]", "a candidate runs": f"grep -q candidate {ROOT}/deployment.json"}


@pytest.mark.parametrize("moment", ROTATIONS.values(), ids=ROTATIONS)
def test_power_cut_in_a_rotation(nous: Nous, moment: str) -> None:
    archives = len(nous.machine.ssh(f"ls {LOG}.*").splitlines())
    # Cut short, it cannot end well; that it was begun is what cut_when looks for.
    nous.cut_when(moment.format(archives=archives), lambda: nous.machine.ssh(f"systemctl start {ROTATION}", check=False))
    nous.boot()
    assert_expected_state(nous)
    nous.machine.ssh(f"systemctl start {ROTATION}")
    assert_expected_state(nous)


@pytest.mark.parametrize("moment", KEYS_MADE.values(), ids=KEYS_MADE)
def test_power_cut_in_the_creation_of_a_key(nous: Nous, moment: str) -> None:
    often = {"oauth_key_minimum_interval_days": 0}
    nous.cut_when(moment, lambda: nous.play("rotate_key", **often))
    nous.boot()
    assert_expected_state(nous)
    output = nous.play("rotate_key", **often)
    assert " failed=0 " in output, output[-6000:]
    assert "tmp" not in nous.machine.ssh(f"ls -A {KEYS}")
    assert_expected_state(nous)


@pytest.mark.parametrize(("moment", "ref"), [*zip(DEPLOYMENTS.values(), ["v1.0.1", "v1.0.0"], strict=True)], ids=DEPLOYMENTS)
def test_power_cut_in_a_deployment(nous: Nous, moment: str, ref: str) -> None:
    wanted = {"nous_service_git_ref": ref}
    nous.cut_when(moment, lambda: nous.play("site", **wanted))
    nous.boot()
    assert_expected_state(nous)
    output = nous.play("site", **wanted)
    assert " failed=0 " in output, output[-6000:]
    assert nous.machine.ssh(f"readlink {ROOT}/current").startswith(f"releases/git-{ref}-")
    assert_expected_state(nous)
