# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's files and its socket, and clients taken away."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import peers
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import files, revocation, server, state
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError, NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import Answer
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.clients.fake import FakeServer

LATER = int(time.time()) + 86400
TOKENS = {
    "a": {"token": "a", "client_id": "c", "expires_at": LATER, "issue_id": "i"},
    "refresh:r": {"token": "r", "client_id": "c", "expires_at": LATER, "consumed": True},
    "access:old": {"token": "old", "client_id": "c", "expires_at": 1},
    "broken": "x",
}


def configured(directory: Path, upstream: str = "unix//run/nous/http.sock") -> Configuration:
    return Configuration("nous.example.org", "enrolment", upstream, directory, ["https://claude.ai/x"], [])


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The rights that the process took, in their order."""
    taken: list[tuple[str, Any]] = []
    for name in ("setgroups", "setegid", "seteuid"):
        monkeypatch.setattr(os, name, lambda rights, name=name: taken.append((name, rights)))
    monkeypatch.setattr(os, "getgroups", lambda: [0, 4])
    return taken


@pytest.fixture
def directory(tmp_path: Path, rights: list[tuple[str, Any]]) -> Path:
    """A folder of the server's account, whose rights are not taken here."""
    made = tmp_path / "auth"
    made.mkdir()
    (made / "clients.json").write_text(json.dumps({"c": {"client_id": "c"}, "broken": 1}))
    (made / "tokens.json").write_text(json.dumps(TOKENS))
    os.chown(made, 65534, 65534)
    return made


TAKEN = [("setgroups", []), ("setegid", 65534), ("seteuid", 65534)]
GIVEN_BACK = [("seteuid", 0), ("setegid", 0), ("setgroups", [0, 4])]


def test_the_files_are_opened_with_the_rights_of_the_account(directory: Path, rights: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*_arguments: object) -> dict[str, Any]:
        assert rights == TAKEN
        raise OSError("no")

    for name in ("read", "change"):
        monkeypatch.setattr(files, name, looked)
    changes: list[dict[str, Any]] = [{}, {"d": {}}]
    for put in changes:
        rights.clear()
        with pytest.raises(NousVmError, match="cannot be used: no"):
            state.change(directory, put=put)
        assert rights == TAKEN + GIVEN_BACK, "those of root's come back whatever happens"


def test_what_the_server_keeps(directory: Path) -> None:
    found = state.read(directory)
    assert found.clients == {"c": {"client_id": "c"}}
    assert found.tokens_of("c") == [state.Token("a", "c", False, LATER, False), state.Token("r", "c", True, LATER, True)]
    assert found.tokens_of("d") == []


def test_a_change(directory: Path) -> None:
    assert set(state.change(directory, put={"d": {"client_id": "d"}}, drop=["c"]).clients) == {"d"}
    assert stat.S_IMODE((directory / "clients.json").stat().st_mode) == 0o600
    before = (directory / "clients.json").stat().st_ino
    state.change(directory, drop=["c"])
    assert (directory / "clients.json").stat().st_ino == before, "nothing is written that is there"


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    assert state.read(tmp_path / "absent") == state.State({}, [])
    with pytest.raises(NousVmError, match="caddy_gateway_clients_directory"):
        state.change(tmp_path / "absent", put={"c": {}})
    assert files.read(tmp_path) == {"clients": {}, "tokens": []}


def test_without_a_file_there_is_nothing(directory: Path) -> None:
    for name in (files.CLIENTS, files.TOKENS):
        (directory / name).unlink()
    assert state.read(directory) == state.State({}, [])


def test_a_link_that_leads_nowhere_is_looked_at(directory: Path) -> None:
    (directory / "tokens.json").unlink()
    (directory / "tokens.json").symlink_to("nowhere")
    with pytest.raises(NousVmError, match=r"cannot be used: .*symbolic links"):
        state.read(directory)


def test_a_folder_that_root_must_not_follow(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    for each in (tmp_path / "link", tmp_path):
        with pytest.raises(NousVmError, match="not a folder of the server's own account"):
            state.read(each)


@pytest.mark.parametrize("end", ['"never"', "[1]", "Infinity", "1" * 5000], ids=["text", "list", "infinity", "digits"])
def test_files_that_cannot_be_used(directory: Path, end: str) -> None:
    (directory / "tokens.json").write_text(f'{{"a": {{"token": "a", "expires_at": {end}}}}}')
    with pytest.raises(NousVmError, match=r"^the files in .* cannot be used: "):
        state.read(directory)


def test_the_version_of_the_tokens(directory: Path) -> None:
    before = state.version(directory)
    os.utime(directory / "tokens.json", ns=(1, 1))
    assert state.version(directory) != before
    (directory / "tokens.json").unlink()
    assert state.version(directory) == (0, 0, 0)


@pytest.mark.parametrize(("upstream", "where"), [("unix//run/x.sock", "/run/x.sock"), ("127.0.0.1:8088", ("127.0.0.1", 8088)), ("[::1]:8088", ("::1", 8088))])
def test_where_the_server_is(upstream: str, where: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(peers, "unix", seen.append)
    monkeypatch.setattr(peers, "tcp", lambda host, port: seen.append((host, port)))

    def ask(*_where: object, **about: Any) -> Answer:
        seen.append(about["headers"]["Host"])
        return Answer(201, {}, b'{"client_id": "c"}')

    monkeypatch.setattr(peers, "ask", ask)
    assert server.Server(configured(tmp_path, upstream)).register({})["client_id"] == "c"
    assert seen == [where, "nous.example.org"]


def test_a_server_that_does_other_than_it_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = server.Server(configured(tmp_path))
    monkeypatch.setattr(peers, "ask", lambda *_where, **_about: Answer(500, {}, b"no\x1b"))
    with pytest.raises(NousVmError, match=r"answers 500 to a registration: no\\x1b"):
        made.register({})
    with pytest.raises(NousVmError, match="answers 500 to a revocation"):
        made.revoke("c", "s", "t", True)
    with pytest.raises(NousVmError, match=r"answers 500 to /[.]well-known"):
        made.settled()
    monkeypatch.setattr(peers, "ask", lambda *_where, **_about: Answer(201, {}, b'{"client_id": ""}'))
    with pytest.raises(ForeignError, match="no client_id"):
        made.register({})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    made = FakeServer()
    monkeypatch.setattr(server.Server, "ask", lambda _server, *request: made.ask(*request))
    monkeypatch.setattr(state, "read", made.state)
    monkeypatch.setattr(state, "change", made.change)
    return made


def test_old_tokens_are_gone_afterwards_and_no_others_are_given(fake: FakeServer, tmp_path: Path) -> None:
    about = fake.post_register({})[1]
    assert isinstance(about, dict)
    fake.codes["code"] = about["client_id"]
    fields = {"client_id": about["client_id"], "client_secret": about["client_secret"]}
    made = fake.post_token(fields | {"code": "code"})[1]
    assert isinstance(made, dict)
    fake.codes["another"] = about["client_id"]
    assert revocation.revoke(configured(tmp_path), [about["client_id"]]) == 2
    assert fake.call(made["access_token"]) == 401
    assert fake.post_token(fields | {"refresh_token": made["refresh_token"]})[0] == 401
    assert fake.post_token(fields | {"code": "another"})[0] == 401
    assert fake.clients == {}


def test_tokens_whose_client_was_evicted(fake: FakeServer, tmp_path: Path) -> None:
    fake.tokens["t"] = state.Token("t", "evicted", False, LATER, False)
    assert revocation.revoke(configured(tmp_path), ["evicted"]) == 1
    assert (fake.tokens, fake.clients) == ({}, {})
    assert revocation.revoke(configured(tmp_path), []) == 0


def test_a_server_that_revokes_nothing(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.tokens["t"] = state.Token("t", "c", False, LATER, False)
    monkeypatch.setattr(fake, "post_revoke", lambda _fields: (200, None))
    with pytest.raises(NousVmError, match="1 tokens are left"):
        revocation.revoke(configured(tmp_path), ["c"])
    assert fake.clients["c"]["client_secret"], "nobody knows its secret"


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import configuration

    monkeypatch.setattr(configuration, "PATH", tmp_path / "clients.json")
    with pytest.raises(UsageError, match="apply the role caddy_gateway"):
        configuration.load()
    known = configured(tmp_path)._asdict() | {"directory": str(tmp_path)}
    (tmp_path / "clients.json").write_text(json.dumps(known))
    assert configuration.load() == configured(tmp_path)
