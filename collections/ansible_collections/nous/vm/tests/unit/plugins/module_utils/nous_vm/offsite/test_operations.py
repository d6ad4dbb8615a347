# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups off the host, drills, and a host that is made of one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, machine
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError, NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite import configuration, operations, placing, sets
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite.restic import Restic

from .conftest import Site


def test_a_backup_and_a_drill(site: Site) -> None:
    done = operations.back_up(site.about)
    assert (done["repository_made"], done["checked"], done["added"]) == (True, True, 7)
    again = operations.back_up(site.about)
    assert (again["repository_made"], again["checked"]) == (False, False)
    assert again["lost_at_most"] >= again["seconds"], "all since the backup before was begun"
    assert not site.staged.exists()
    assert ["forget", "--tag=nous-vm", "--group-by=", "--keep-hourly=48"] in site.repository.calls
    assert [word for word in site.repository.calls if word[0] in ("prune", "check")] == [["prune", "--max-repack-size=1G"], ["check", "--read-data-subset=5%"]]
    drilled = operations.drill(site.about)
    assert (drilled["ok"], drilled["of"]) == (True, again["at"])
    assert not site.drill.exists()
    assert {"backup", "check", "drill"} == configuration.last().keys()


def test_what_is_in_a_set(site: Site) -> None:
    """Whole lines alone, no private key of checkpoints, and everything with its owner and mode."""
    operations.back_up(site.about)
    manifest = operations.fetch(site.about, site.drill)
    there = {str(path.relative_to(site.drill)) for path in site.drill.rglob("*") if path.is_file()}
    live = str(site.live).lstrip("/")
    assert there == {"manifest.json", *(f"{live}/{name}" for name in ("log/audit.jsonl", "log/audit.jsonl.1", "auth/tokens.json", "state.db"))}
    assert (site.drill / live / "log/audit.jsonl").read_text() == '{"a": 1}\n{"a": 2}\n'
    assert manifest["release"] == "git-1-py3.13"
    assert {each["owner"] for each in manifest["files"].values()} == {"root"}


def test_a_rotation_in_the_middle(site: Site) -> None:
    """Its records would be in the set twice: that snapshot is forgotten, and another one is made."""

    def rotate() -> None:
        (site.live / "log/audit.jsonl.2").write_text("{}\n")

    site.repository.during = rotate
    operations.back_up(site.about)
    assert len(site.repository.snapshots) == 1
    assert sum(call[0] == "backup" for call in site.repository.calls) == 2
    assert operations.drill(site.about)["ok"]


def test_a_rotation_while_the_database_is_copied(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take as long as a deployment does, and the log is copied before it: no record is in the set twice."""
    log = site.live / "log/audit.jsonl"
    log.write_text('{"a": 1}\n{"a": 2}\n')

    def export(path: Path) -> None:
        if log.read_text():
            log.rename(site.live / "log/audit.jsonl.2")
            log.write_text("")
        shutil.copy(site.database, path)

    monkeypatch.setattr(operations, "_database", lambda: (site.database, export, "git-1-py3.13"))
    operations.back_up(site.about)
    operations.fetch(site.about, site.drill)
    there = [line for path in site.drill.rglob("audit.jsonl*") for line in path.read_text().splitlines() if line.endswith("}")]
    assert sorted(there) == ['{"a": 0}', '{"a": 1}', '{"a": 2}']


def test_a_log_that_is_always_rotated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "still", lambda *_about: False)
    with pytest.raises(NousVmError, match="rotated during each of 3 attempts"):
        operations.back_up(site.about)
    assert site.repository.snapshots == []


@pytest.mark.parametrize("broken", ["cat", "backup", "forget", "prune"])
def test_a_failure_is_remembered_and_is_an_event(site: Site, broken: str) -> None:
    site.repository.made, site.repository.broken = True, broken
    with pytest.raises(NousVmError, match="wrong password or no key found"):
        operations.back_up(site.about)
    assert "wrong password" in configuration.last()["failure"]["why"]
    assert (events.history()[-1]["event"], events.history()[-1]["result"]) == ("backed up off the host", "failed")
    site.repository.broken = ""
    operations.back_up(site.about)
    assert "failure" not in configuration.last()


def test_a_repository_that_is_gone_is_not_made_anew(site: Site) -> None:
    operations.back_up(site.about)
    site.repository.made = False
    with pytest.raises(NousVmError, match="it is gone"):
        operations.back_up(site.about)
    shutil.rmtree(site.about.local)
    with pytest.raises(NousVmError, match=r"is not there: is it mounted\?"):
        operations.back_up(site.about)


def test_the_machine_of_a_set_is_the_one_that_the_watch_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same words, so that the two can be compared; and nothing is saved as that of no machine."""
    monkeypatch.setattr(machine, "MACHINE_ID", tmp_path / "machine-id")
    (tmp_path / "machine-id").write_text("30D0E4D4-c7ed-476c-90a1-bd2b8f6ee2f8\n")
    assert sets.machine() == machine.machine().machine_id == "30d0e4d4c7ed476c90a1bd2b8f6ee2f8"
    for content in ("uninitialized\n", "", "\x1b[2J\n"):
        (tmp_path / "machine-id").write_text(content)
        with pytest.raises(NousVmError, match="machine-id has no identity of this machine; sudo systemd-machine-id-setup"):
            sets.machine()


def test_two_machines_do_not_share_a_repository(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    operations.back_up(site.about)
    monkeypatch.setattr(sets, "machine", lambda: "1" * 32)
    with pytest.raises(NousVmError, match=r"machine 0{32}.* made the newest backup.*stop one of the two"):
        operations.back_up(site.about)
    site.record.write_text(json.dumps({"machine": "0" * 32}))
    operations.back_up(site.about)
    monkeypatch.setattr(sets, "machine", lambda: "0" * 32)
    with pytest.raises(NousVmError, match="machine 11111111111111111111111111111111"):
        operations.back_up(site.about)


@pytest.mark.parametrize("damage", ["log/audit.jsonl", "log/audit.jsonl.1", "state.db", "auth/tokens.json"])
def test_a_drill_finds_what_is_damaged(site: Site, damage: str) -> None:
    operations.back_up(site.about)
    (stored,) = (
        [path for path in site.repository.folder.rglob(f"*{Path(damage).name}") if path.is_file()]
        if damage != "state.db"
        else [next(site.repository.folder.rglob("database"))]
    )
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(bytes(content) + (b"x" if damage.endswith("1") else b""))
    drilled = operations.drill(site.about)
    assert not drilled["ok"]
    assert f"{damage} is not what was saved" in drilled["why"]
    assert events.history()[-1]["result"] == "failed"
    assert not site.drill.exists()


def test_a_drill_finds_what_is_gone(site: Site) -> None:
    operations.back_up(site.about)
    next(path for path in site.repository.folder.rglob("*tokens.json")).unlink()
    assert "cannot be read: No such file" in operations.drill(site.about)["why"]
    next(site.repository.folder.rglob("manifest.json")).unlink()
    assert "has no" in operations.drill(site.about)["why"]


def test_a_set_that_leads_out_of_its_folder(site: Site) -> None:
    operations.back_up(site.about)
    path = next(site.repository.folder.rglob("manifest.json"))
    for files in ({"0": {"path": "/x/../../etc/shadow"}}, {"../x": {"path": "/x"}}, {"0": {"path": "x"}}):
        path.write_text(json.dumps({"form": 1, "files": files, "archives": {}}))
        assert "the set has the" in operations.drill(site.about)["why"]
    path.write_text(json.dumps({"form": 2}))
    assert "of the form 1" in operations.drill(site.about)["why"]


def test_links_lead_root_nowhere(site: Site, tmp_path: Path) -> None:
    """Not the file, and not a folder on the way: what a restore would give the server is what was the server's."""
    (tmp_path / "secret.json").write_text("secret")
    (site.live / "auth/x.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(OSError, match=r"x[.]json"):
        operations.back_up(site.about)
    shutil.rmtree(site.live / "auth")
    (site.live / "auth").symlink_to(tmp_path)
    with pytest.raises(OSError, match="auth"):
        operations.back_up(site.about)
    (site.live / "auth").unlink()
    (site.live / "auth").mkdir()
    os.mkfifo(site.live / "auth/x.json")
    with pytest.raises(ForeignError, match="not a regular file"):
        operations.back_up(site.about)


def test_a_file_that_is_too_large(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "LARGEST", 1)
    with pytest.raises(ForeignError, match="at most 1 are backed up"):
        operations.back_up(site.about)
    monkeypatch.setattr(sets, "MOST", 0)
    with pytest.raises(NousVmError, match="more than 0 files"):
        operations.back_up(site.about)


def test_a_host_is_made_of_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    operations.back_up(site.about)
    with pytest.raises(UsageError, match=r"this host is not bare: it has .*; a set is restored onto a new host alone"):
        placing.restore(site.about, "latest")
    (site.live / "log/audit.jsonl.1").chmod(0o600)
    shutil.rmtree(site.live)
    monkeypatch.setattr(sets, "machine", lambda: "1" * 32)
    done = placing.restore(site.about, "latest")
    assert (done["changed"], done["machine"], done["onto"], done["release"]) == (True, "0" * 32, "1" * 32, "git-1-py3.13")
    assert json.loads(site.record.read_text())["onto"] == "1" * 32
    assert (site.live / "log/audit.jsonl").read_text() == '{"a": 1}\n{"a": 2}\n'
    assert site.database.exists()
    assert placing.restore(site.about, "latest")["changed"] is False
    assert events.history()[-1]["event"] == "restored the host"
    assert not site.restored.exists()


def test_what_the_new_host_has_of_its_own_is_left(site: Site) -> None:
    (site.live / "jwks.json").write_text("{}")
    about = site.about._replace(files=[*site.about.files, site.about.jwks])
    operations.back_up(about)
    shutil.rmtree(site.live)
    site.live.mkdir()
    (site.live / "jwks.json").write_text("new")
    placing.restore(about, "latest")
    assert ((site.before / "jwks.json").read_text(), (site.live / "jwks.json").read_text()) == ("{}", "new")


def test_an_account_that_is_not_there() -> None:
    with pytest.raises(NousVmError, match="no account or group nobody-of-that-name"):
        placing.number(placing.pwd.getpwnam, "nobody-of-that-name")  # type: ignore[attr-defined]
    assert placing.number(placing.pwd.getpwnam, "1234") == 1234  # type: ignore[attr-defined]


def test_a_snapshot_by_its_name(site: Site) -> None:
    operations.back_up(site.about)
    name = site.repository.snapshots[0]["short_id"]
    assert operations.fetch(site.about, site.drill, name)["snapshot"] == name
    with pytest.raises(NousVmError, match="has no snapshot nonesuch; it has 1"):
        operations.fetch(site.about, site.drill, "nonesuch")


def test_a_lock_of_what_was_killed(site: Site) -> None:
    """It is removed, and only then; what somebody holds is waited for, and named."""
    operations.back_up(site.about)
    assert ["unlock"] not in site.repository.calls
    site.repository.locked = "stale"
    operations.back_up(site.about)
    assert site.repository.calls.count(["unlock"]) == 1
    site.repository.locked = "held"
    with pytest.raises(NousVmError, match=r"already locked exclusively by PID 47 on a by root [(]UID 0, GID 0[)]$"):
        operations.back_up(site.about)


def test_what_restic_may_do(site: Site) -> None:
    """A folder of its own needs no network, another place does; only a restore may write elsewhere and change owners."""
    local = list(Restic(site.about).properties(None))
    assert "PrivateNetwork=yes" in local
    assert f"ReadWritePaths={site.about.local}" in local
    away = list(Restic(site.about._replace(local="", environment="/etc/e")).properties(Path("/scratch")))
    assert {"PrivateNetwork=no", "EnvironmentFile=/etc/e", "ReadWritePaths=/scratch", "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER"} <= set(
        away
    )
    assert not [each for each in local + away if "ProtectSystem" in each and "strict" not in each]


def test_no_line_is_complete(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("torn")
    with (tmp_path / "x").open("rb") as file:
        assert sets.complete(file) == 0
