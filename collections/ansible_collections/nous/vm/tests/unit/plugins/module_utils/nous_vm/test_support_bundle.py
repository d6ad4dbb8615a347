# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm support-bundle: every secret of a host is a canary, printed wherever somebody can print, and none of them is in the archive."""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import bundle, bundle_parts
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import support as of_audit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import support as of_build
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.bundle import Bundle, Part, known_secrets
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.cli import Result
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import support as of_clients
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.commands import support_bundle
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import support as of_deploy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import support as of_gateway
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Finding
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import support as of_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.network import Listener
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.offsite import support as of_offsite
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.redaction import Redactor
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import support as of_watch

PACKAGE = Path(bundle.__file__).parent
ROLES = sorted(path.parent.name for path in PACKAGE.glob("*/support.py"))
SUPPORT = {"audit": of_audit, "build": of_build, "clients": of_clients, "deploy": of_deploy}
SUPPORT |= {"gateway": of_gateway, "key": of_key, "offsite": of_offsite, "watch": of_watch}


class Canaries(dict[str, str]):
    """The secrets of a host, each by where it is, and the files that hold them."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def make(self, name: str) -> str:
        """Return a new one. It has characters that encodings change."""
        self[name] = f"canary/{len(self)}+of {name}?&%"
        return self[name]

    def file(self, path: str, content: str) -> Path:
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(content, encoding="utf-8")
        return where

    def printed(self) -> str:
        """Return what a careless program prints: each of them, in all ways."""
        lines = []
        for each in self.values():
            raw = each.encode()
            lines += [each, f"x={json.dumps(each)}", quote(each, safe=""), quote(each), raw.hex(), base64.b64encode(raw).decode(), f"a{each}z"]
            lines += [base64.urlsafe_b64encode(raw).decode(), base64.b64encode(b"user:" + raw).decode()]
        return "\n".join(lines)

    def seen(self, content: bytes) -> list[str]:
        """Return those that can be read out of this, in any encoding."""
        found = []
        for name, each in self.items():
            raw = each.encode()
            inner = base64.b64encode(b"user:" + raw)[8:-4]
            encoded = [raw, quote(each, safe="").encode(), quote(each).encode(), raw.hex().encode(), json.dumps(each)[1:-1].encode(), inner]
            encoded += [base64.b64encode(raw)[:-4], base64.urlsafe_b64encode(raw)[:-4]]
            found += [name for form in encoded if form in content]
        return found


@pytest.fixture
def canaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """A host with all roles, whose secrets are canaries."""
    made = Canaries(tmp_path / "host")
    make, file = made.make, made.file
    secrets_env = "# Managed by Ansible (nous.vm).\n" + "".join(f'{name}="{make(name)}"\n' for name in ("API_KEY", "MORE"))
    client = {"abc": {"client_id": "abc", "client_secret": make("client_secret"), "client_name": "Claude"}}
    token = make("refresh token").replace(" ", "0")
    made["refresh token"] = token
    pems = [jwk.generate_pem("EdDSA", 0).decode() for _key in range(3)]
    made |= {f"line of key {number}": pem.splitlines()[1] for number, pem in enumerate(pems)}
    url = "https://hooks.example.org/services/T1/" + quote(make("alert path"), safe="")
    made["alert url"] = url
    hidden = {"spaced": make("pending")}
    monkeypatch.setattr(of_deploy, "SECRETS", file("etc/nous/secrets.env", secrets_env))
    credentials = {"signing-key": file("keys/key.pem", pems[0]), "own": file("own", make("credential") + "\n"), "absent": made.root / "absent"}
    home = made.root / "home"
    file("home/auth/clients.json", json.dumps(client))
    file("home/auth/tokens.json", json.dumps({f"refresh:{token}": {"token": token, "client_id": "abc"}}))
    monkeypatch.setattr(of_deploy, "load", lambda: argparse.Namespace(credentials=credentials, home=str(home), root=made.root / "opt"))
    monkeypatch.setattr(of_clients, "load", lambda: argparse.Namespace(directory=home / "auth"))
    monkeypatch.setattr(of_clients, "PENDING", file("pending.json", json.dumps({"previous": {"client_secret": hidden["spaced"]}})))
    file("keys/key.pem.next", pems[1])
    monkeypatch.setattr(of_key, "configuration", lambda: argparse.Namespace(path=str(made.root / "keys/key.pem"), jwks_path=str(made.root / "jwks.json")))
    monkeypatch.setattr(of_audit, "everything", lambda: [argparse.Namespace(directory=made.root / "log")])
    monkeypatch.setattr(of_audit, "settings", lambda _config: {"key": str(file("checkpoint/keys/1.pem", pems[2]))})
    environment = {"UV_INDEX_PASSWORD": make("UV_INDEX_PASSWORD")}
    source = {"url": f"https://me:{quote(make('password of the source'), safe='')}@git.example.org/nous"}
    monkeypatch.setattr(of_build, "load", lambda: argparse.Namespace(environment=environment, source=source))
    lent = [("git-credentials", file("git", f"https://me:{quote(make('git'), safe='')}@git.example.org\n")), ("known_hosts", made.root / "known")]
    monkeypatch.setattr(of_build, "lent", lambda _about: lent)
    monkeypatch.setattr(of_gateway, "DATA", made.root / "caddy")
    file("caddy/acme/users/me/me.key", f"-----BEGIN EC PRIVATE KEY-----\n{make('acme').replace(' ', '0')}\n-----END EC PRIVATE KEY-----\n")
    made["acme"] = made["acme"].replace(" ", "0")
    password = file("backup/password", make("password of the backup") + "\n")
    environment_file = file("backup/environment", f'AWS_SECRET_ACCESS_KEY="{make("AWS")}"\n')
    monkeypatch.setattr(of_offsite, "load", lambda: argparse.Namespace(password=str(password), environment=str(environment_file)))
    monkeypatch.setattr(of_watch, "SECRETS", file("watch/alert-url", f"{url}\n").parent)
    monkeypatch.setattr(bundle, "applied", lambda _module: list(ROLES))
    return made


@pytest.fixture
def host(canaries: Canaries, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host that prints its secrets wherever it can; return the folder that a bundle is written to."""
    printed = canaries.printed()

    def run(argv: list[str], **_how: Any) -> Completed:
        return Completed(0, f"-- of {' '.join(argv)}\n{printed}\n".encode(), b"")

    def releases() -> dict[str, Any]:
        return {"failed": {"1.0": printed}}

    found = [Finding("deploy", "health", "fail", each) for each in canaries.values()]
    monkeypatch.setattr(bundle_parts, "run", run)
    monkeypatch.setattr(bundle_parts, "look", lambda: found)
    monkeypatch.setattr(bundle_parts, "history", lambda _count: [{"event": "restored", "why": each} for each in canaries.values()])
    monkeypatch.setattr(bundle_parts, "CONFIGURATION", tmp_path / "host/etc")
    monkeypatch.setattr(bundle_parts, "STATE", tmp_path / "host/state")
    monkeypatch.setattr(of_deploy, "DOCUMENTS", {"releases": releases})
    monkeypatch.setattr(of_offsite, "DOCUMENTS", {})
    units = tmp_path / "host/units"
    (units / "caddy.service.d").mkdir(parents=True)
    (units / "caddy.service.d/gateway.conf").write_text("# Managed by Ansible (nous.vm).\n[Unit]\n")
    for unit in ("nous.service", "watch-failed@.service"):
        (units / unit).write_text("# Managed by Ansible (nous.vm).\n[Unit]\n")
    (units / "stranger.service").write_text("[Unit]\n")
    (units / "masked.service").symlink_to("/dev/null")
    ours = bundle_parts.ours
    monkeypatch.setattr(bundle_parts, "ours", lambda: ours(units))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def made(folder: Path, *words: str) -> tuple[Result, dict[str, bytes], dict[str, Any]]:
    """Make a bundle; return the result, its members and its manifest."""
    result = support_bundle.run(argparse.Namespace(output=folder))
    with tarfile.open(result.document["path"]) as tar:
        files = {each.name.partition("/")[2]: tar.extractfile(each).read() for each in tar.getmembers()}  # type: ignore[union-attr]
    return result, files, json.loads(files["manifest.json"])


def test_no_canary_is_in_it(host: Path, canaries: Canaries) -> None:
    result, files, manifest = made(host)
    everything = b"\n".join(files.values())
    assert canaries.seen(canaries.printed().encode()), "the canaries would not be seen"
    assert canaries.seen(everything) == []
    assert canaries.seen(json.dumps(result.document).encode() + result.text.encode()) == []
    assert manifest["redacted"] > 9 * len(canaries)
    assert {"check.json", "status.json", "history.json", "versions.json", "folders.txt", "disks.txt", "deploy/releases.json"} <= files.keys()
    assert {"units/nous.service/journal.txt", "units/caddy.service/cat.txt", "units/watch-failed@.service/cat.txt"} <= files.keys()
    assert not [name for name in files if "stranger" in name or "masked" in name or name.startswith("units/watch-failed@.service/s")]
    assert b"-- of journalctl" in files["units/nous.service/journal.txt"]
    assert b"secrets.env" in files["folders.txt"] and b"-rw" in files["folders.txt"]


@pytest.mark.parametrize("role", sorted(SUPPORT))
def test_a_role_that_forgets_its_secrets_is_seen(host: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """The test above can fail: of each role, at least one canary is known by that role alone (a key of tokens by two)."""
    both = {"deploy", "key", "clients"}
    for other in both if role in both else {role}:
        monkeypatch.setattr(SUPPORT[other], "secrets", lambda: iter(()))
    _result, files, _manifest = made(host)
    assert canaries.seen(b"\n".join(files.values()))


def test_the_manifest(host: Path) -> None:
    result, files, manifest = made(host)
    assert set(manifest["members"]) == files.keys() - {"manifest.json"} == set(result.document["members"])
    assert all(manifest["members"][name]["bytes"] == len(files[name]) and manifest["members"][name]["is"] for name in manifest["members"])
    assert set(bundle.NEVER) <= manifest["left_out"].keys()
    assert "host names" in manifest["note"]
    path = Path(result.document["path"])
    assert (path.stat().st_mode & 0o7777, path.parent) == (0o600, host)
    assert result.text.startswith(f"{path}: {len(files) - 1} members")


def test_a_part_that_fails_is_a_line(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of canary")

    def hangs() -> None:
        while True:
            with contextlib.suppress(Exception):  # whatever it can
                time.sleep(60)

    monkeypatch.setattr(bundle, "PART", 0.2)
    monkeypatch.setattr(bundle_parts, "listening", broken)
    monkeypatch.setattr(bundle_parts, "versions", hangs)
    result, files, manifest = made(host)
    assert "ZeroDivisionError: of canary" in manifest["left_out"]["listeners.json"]
    assert manifest["left_out"]["versions.json"].startswith("it did not end within")
    assert "left out: listeners.json: ZeroDivisionError" in result.text
    assert "units/nous.service/show.txt" in files


def test_it_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MEMBER", 8 << 10)
    monkeypatch.setattr(bundle, "TOTAL", 3 * bundle.MEMBER)
    made = Bundle(Redactor([]), {}, time.monotonic() + 600)
    for number in range(5):
        made.add(Part(f"{number}", "much", lambda: ("x" * 70 + "\n") * 200))
        assert f"{number}" in made.failed or made.about[f"{number}"] == "much; the beginning was cut off"
    made.add(Part("large", "a document", lambda: ["x" * 1000] * 20))
    assert sum(map(len, made.members.values())) <= bundle.TOTAL
    assert sorted(made.failed) == ["3", "4", "large"]
    assert "a member may have 8192" in made.failed["large"]
    late = Bundle(Redactor([]), {}, time.monotonic() - 1)
    late.add(Part("late", "too late", lambda: "x"))
    assert "there was no time left" in late.failed["late"]


def test_what_is_still_secret_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Bundle(Redactor(["canary-of-it"]), {}, time.monotonic() + 60)
    monkeypatch.setattr(made.redactor, "text", lambda text: text)
    made.add(Part("x", "x", lambda: "has canary-of-it"))
    assert (made.members, made.failed["x"]) == ({}, "a secret is still in it")


def test_a_secret_that_cannot_be_read(host: Path, canaries: Canaries) -> None:
    """Nobody knows what to take out then: what others print into is left out."""
    (canaries.root / "own").unlink()
    (canaries.root / "own").mkdir()
    _result, files, manifest = made(host)
    assert files.keys() == {"manifest.json", "versions.json", "folders.txt", "listeners.json", "disks.txt"} - manifest["left_out"].keys()
    assert "own cannot be read: " in manifest["left_out"]["units/nous.service/journal.txt"]


def test_what_a_role_says_of_its_secrets_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Path]:
        yield Path("/nonexistent")
        raise UsageError("no configuration")

    assert known_secrets([("deploy", broken)]) == (set(), {"what deploy says": "cannot be read: UsageError('no configuration')"})
    monkeypatch.setattr(bundle, "applied", lambda _module: ["no_such_role"])
    assert "cannot be read: ModuleNotFoundError" in known_secrets()[1]["what the roles say"]
    assert list(bundle.of_roles("UNITS")) == []


def test_any_subset_of_roles(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "applied", lambda _module: [])
    _result, files, _manifest = made(host)
    assert {"check.json", "folders.txt", "units/nous.service/journal.txt"} <= files.keys()
    assert not [name for name in files if name.startswith("deploy/")]


def test_where_it_is_written(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert support_bundle.target(host, "a.tar.gz") == host / "a.tar.gz"
    assert support_bundle.target(host / "b.tar.gz", "a.tar.gz") == host / "b.tar.gz"
    (host / "b.tar.gz").symlink_to("/nonexistent")
    with pytest.raises(UsageError, match="which is there; name a folder, or a file that is not"):
        support_bundle.target(host / "b.tar.gz", "a.tar.gz")
    with pytest.raises(UsageError, match="whose folder is not there"):
        support_bundle.target(host / "no/b.tar.gz", "a.tar.gz")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root may see what is in it"):
        support_bundle.run(argparse.Namespace(output=host))


def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "fails": Completed(1, b"", b"no such unit"),
        "warns": Completed(3, b"printed", b"a warning"),
        "floods": Completed(0, b"rt of a line\nwhole", b""),
    }
    monkeypatch.setattr(bundle_parts, "run", lambda argv, **_how: answers[argv[0]])
    monkeypatch.setattr(bundle_parts, "OUTPUT", 18)
    assert bundle_parts.printed("warns")() == "printed"
    assert bundle_parts.printed("floods")() == "whole"
    with pytest.raises(NousVmError, match="no such unit"):
        bundle_parts.printed("fails")()


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "applied", lambda _module: ["deploy"])
    monkeypatch.setattr(bundle_parts, "run", lambda argv, **_how: Completed(127, b"", b"not here") if argv[0] == "haproxy" else Completed(0, b"1.2\nmore", b""))
    found = bundle_parts.versions()
    assert (found["systemd"], found["haproxy"]) == ("1.2", "not here")
    assert found["collection"] and found["python"] and found["kernel"].startswith("Linux") and any("ID=" in line for line in found["os-release"])


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIGURATION", "STATE", "RUNTIME", "LOGS", "LIBRARY"):
        monkeypatch.setattr(bundle_parts, name, tmp_path / "a")
    monkeypatch.setattr(bundle, "applied", lambda _module: [])
    deep = tmp_path / "a/b/c/d/e"
    deep.mkdir(parents=True)
    (tmp_path / "a/link").symlink_to("/root")
    (tmp_path / "a/evil\x1b[31m").touch()
    monkeypatch.setattr(bundle_parts, "_name", lambda _ask, number: str(number))
    lines = bundle_parts.folders().splitlines()
    assert any(line.endswith("/a/b/c/d") for line in lines) and not any(line.endswith("/a/b/c/d/e") for line in lines)
    assert any("-> /root" in line for line in lines) and any("evil\\x1b[31m" in line for line in lines)
    monkeypatch.setattr(bundle_parts, "STATE", tmp_path / "absent")
    assert f"absent  {tmp_path}/absent" in bundle_parts.folders()

    def denied(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    assert "Permission denied" in bundle_parts.folders()


def test_an_account_that_is_gone() -> None:
    assert bundle_parts._name(dict[int, str]().__getitem__, 70_000) == "70000"
    assert bundle_parts._name(lambda _number: ("root",), 0) == "root"


def test_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = {"a": (b"\x7f\0\0\1", 22), "b": (b"\0" * 15 + b"\1", 8088), "c": (b"\xc0\0\2\1", 443)}
    monkeypatch.setattr(bundle_parts, "listeners", lambda: {name: Listener(*each) for name, each in sockets.items()})
    monkeypatch.setattr(bundle_parts, "holders", lambda _ports: {22: "sshd (pid 1)", 443: "caddy (pid 2)"})
    assert bundle_parts.listening() == [{"address": "::1", "port": 8088, "by": ""}, {"address": "192.0.2.1", "port": 443, "by": "caddy (pid 2)"}]


def test_every_part_of_the_check_says_what_is_secret() -> None:
    """A role that has secrets and does not say so would have them in the bundle."""
    roles = {path.parent.name for path in PACKAGE.glob("*/check.py")} - {"commands"}
    assert roles <= set(ROLES)
    for role in ROLES:
        assert callable(importlib.import_module(f"{bundle.__package__}.{role}.support").secrets), role


def test_the_archive_is_one(tmp_path: Path) -> None:
    made = Bundle(Redactor([]), {}, time.monotonic() + 60)
    made.add(Part("a.txt", "a", lambda: "x\x1b[31m"))
    with tarfile.open(fileobj=io.BytesIO(made.archive("name", "host", time.time()))) as tar:
        assert tar.getnames() == ["name/manifest.json", "name/a.txt"]
        assert {each.mode for each in tar.getmembers()} == {0o600}
        assert tar.extractfile("name/a.txt").read() == b"x\\x1b[31m\n"  # type: ignore[union-attr]


def test_hosts_that_have_less(canaries: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_audit, "settings", lambda _config: None)
    monkeypatch.setattr(of_build, "load", lambda: argparse.Namespace(environment={}, source={"kind": "archive"}))
    monkeypatch.setattr(of_offsite, "load", lambda: argparse.Namespace(password=str(canaries.root / "backup/password"), environment=""))
    assert list(of_audit.secrets()) == []
    assert list(of_audit.folders()) == [canaries.root / "log"]
    assert list(of_build.secrets()) == [canaries.root / "git"]
    assert [path.name for path in of_offsite.secrets()] == ["password", "ssh_key"]


def test_what_roles_add(monkeypatch: pytest.MonkeyPatch) -> None:
    backups = argparse.Namespace(complete=lambda: {"b1": {"at": 0.0}})
    monkeypatch.setattr(of_deploy, "service", lambda: argparse.Namespace(backups=backups))
    monkeypatch.setattr(of_deploy, "document", lambda _service: {"current": "1.0"})
    assert {name: make() for name, make in of_deploy.DOCUMENTS.items()} == {"releases": {"current": "1.0"}, "backups": {"b1": {"at": 0.0}}}
    monkeypatch.setattr(of_offsite, "last", lambda: {"check": {"at": 1.0}})
    monkeypatch.setattr(of_offsite, "read_json", lambda _path: {})
    assert of_offsite.DOCUMENTS["backups"]() == {"last": {"check": {"at": 1.0}}, "restored": {}}
