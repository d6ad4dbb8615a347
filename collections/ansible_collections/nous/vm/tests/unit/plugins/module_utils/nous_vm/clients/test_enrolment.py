# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An enrolment from its command to its end, with the unit and the server played; and the process that serves it, on real sockets."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import (
    authorizer,
    check,
    configuration,
    enrolment,
    outcome,
    record,
    server,
    state,
    summary,
    unit,
    window,
)
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.commands import (
    clients_adopt,
    clients_close,
    clients_enrol,
    clients_list,
    clients_revoke,
    clients_wait,
    clients_window,
)
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.messages import Request, denied
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import LockedError, NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.clients.fake import FakeServer

BACK = "http://localhost:3334/oauth/callback"
LATER = int(time.time()) + 3600
COMMANDS = {
    "adopt": clients_adopt,
    "close": clients_close,
    "enrol": clients_enrol,
    "list": clients_list,
    "revoke": clients_revoke,
    "wait": clients_wait,
}


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that fails, whatever it is given."""

    def fail(*_arguments: object) -> Any:
        raise error

    return fail


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("RECORD", "PENDING", "WINDOW", "OUTCOME", "PATH"):
        monkeypatch.setattr(configuration, name, tmp_path / f"{name.lower()}.json")
    for name in ("AUTHORIZE", "REGISTER"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(events, "record", lambda *_event, **_about: None)
    for module in (window, outcome):
        monkeypatch.setattr(module, "RUNTIME", tmp_path)
    about = {"hostname": "nous.example.org", "authorize": "enrolment", "upstream": "unix//run/nous/http.sock", "directory": str(tmp_path)}
    (tmp_path / "path.json").write_text(json.dumps(about | {"redirect_uris": [BACK], "operator_cidrs": ["203.0.113.7/32"]}))
    return tmp_path


class Host:
    """The server, and the unit of the window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.state, self.started = FakeServer(), "inactive", list[list[str]]()
        self.failure = Completed(0, b"", b"")
        monkeypatch.setattr(server.Server, "ask", lambda _server, *request: self.server.ask(*request))
        monkeypatch.setattr(state, "read", self.server.state)
        monkeypatch.setattr(state, "change", self.server.change)
        monkeypatch.setattr(enrolment, "run", self.run)
        monkeypatch.setattr(enrolment, "show", lambda _unit, _name: {"ActiveState": self.state})
        monkeypatch.setattr(enrolment, "ordered", lambda *_words: self.end())
        for module in (enrolment, check):
            monkeypatch.setattr(module, "is_active", lambda _unit: self.state == "active")

    def run(self, argv: list[str], timeout: float) -> Completed:
        assert timeout
        self.started.append(argv)
        if not self.failure.returncode:
            self.state = "active"
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(configuration.AUTHORIZE))
        return self.failure

    def end(self) -> None:
        """The unit ends, and systemd runs what completes it."""
        self.state = "inactive"
        configuration.AUTHORIZE.unlink(missing_ok=True)
        with locks.held("clients", "close"):
            enrolment.complete(configuration.load())

    def token(self, client_id: str) -> None:
        self.server.tokens[f"of {client_id}"] = state.Token(f"of {client_id}", client_id, False, LATER, False)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def command(name: str, *words: str) -> cli.Result:
    return COMMANDS[name].run(cli.parser(f"clients {name}", COMMANDS[name]).parse_args(words))  # type: ignore[no-any-return]


def test_they_are_commands_of_the_host() -> None:
    found = {name.removeprefix("clients ") for name in cli.commands() if name.startswith("clients ")}
    assert found == {*COMMANDS, "window"}


def test_it_is_let_in(host: Host) -> None:
    details = command("enrol", "claude", "--detach", "--json").document
    assert details == {
        "name": "claude",
        "url": "https://nous.example.org",
        "client_id": "client-1",
        "client_secret": "secret-2",
        "token_endpoint_auth_method": "client_secret_post",
        "link": details["link"],
        "seconds": 600,
    }
    assert host.server.clients["client-1"]["redirect_uris"] == [BACK]
    (argv,) = host.started
    secret = details["link"].partition("=")[2]
    assert len(secret) == 32
    assert not any(secret in word or "secret-2" in word for word in argv), "in no list of processes"
    assert {"--property=RuntimeMaxSec=630", "--property=PrivateNetwork=yes", "--property=RuntimeDirectory=nous-vm-enrolment"} <= set(argv)
    assert secret not in configuration.WINDOW.read_text() + configuration.PENDING.read_text()
    assert command("wait", "--timeout", "0").text.endswith("is still open")
    with pytest.raises(LockedError):
        command("enrol", "another", "--detach")

    host.token("client-1")
    host.end()
    assert not configuration.WINDOW.exists()
    assert not configuration.PENDING.exists()
    found = command("wait")
    assert (found.document["state"], found.code) == ("enrolled", 0)
    (listed,) = command("list").document["clients"]
    assert (listed["name"], listed["tokens"], listed["access_until"], listed["refresh_until"]) == ("claude", 1, LATER, None)
    assert "access until" in command("list").text


def test_a_client_without_a_secret(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    register = host.server.post_register
    monkeypatch.setattr(host.server, "post_register", lambda metadata: (201, {**dict(register(metadata)[1]), "client_secret": None}))
    found = command("enrol", "claude", "--public", "--detach")
    assert (found.document["client_secret"], found.document["token_endpoint_auth_method"]) == ("", "none")
    assert "client secret  none" in found.text


def test_it_is_not(host: Host) -> None:
    host.server.clients["before"] = {"client_id": "before", "client_secret": "s"}
    command("enrol", "claude", "--detach")
    assert set(host.server.clients) == {"before", "client-1"}
    assert command("close").text == "no enrolment is open"
    assert host.server.clients == {"before": {"client_id": "before", "client_secret": "s"}}
    found = command("wait", "--json")
    assert (found.document["state"], found.code) == ("closed", 1)
    assert found.document["message"].startswith("claude is not in")


def test_the_end_may_come_twice_and_without_the_server(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    command("enrol", "claude", "--detach")
    host.state = "inactive"
    monkeypatch.setattr(server.Server, "settled", raising(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        command("close", "--ended")
    assert "was interrupted" in check.enrolment().detail
    monkeypatch.undo()
    host = Host(monkeypatch)


def test_a_unit_that_does_not_start_leaves_nothing(host: Host) -> None:
    host.failure = Completed(1, b"", b"Failed to start\n")
    with pytest.raises(NousVmError, match="Failed to start"):
        command("enrol", "claude", "--detach")
    assert (host.server.clients, configuration.PENDING.exists()) == ({}, False)


def test_a_unit_that_ends_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "is_active", lambda _unit: False)
    monkeypatch.setattr(enrolment, "run", lambda *_argv, **_options: Completed(0, b"", b""))
    with pytest.raises(NousVmError, match="journalctl"):
        command("enrol", "claude", "--detach")


def test_one_that_has_its_token_is_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    command("enrol", "claude", "--detach")
    host.token("client-1")
    monkeypatch.setattr(time, "sleep", lambda _seconds: host.end())
    assert command("enrol", "again", "--detach").document["client_id"] == "client-3"
    assert set(record.entries()) == {"client-1"}
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    host.token("client-3")
    monkeypatch.setattr(enrolment, "START", -1.0)
    with pytest.raises(LockedError):
        command("enrol", "third", "--detach")


def test_the_command_waits_and_prints_what_comes(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ends(_seconds: float) -> None:
        outcome.add("the link was opened by a browser at 203.0.113.5")
        outcome.add("the link was opened by a browser at 203.0.113.5")
        host.token("client-1")
        host.end()

    monkeypatch.setattr(time, "sleep", ends)
    assert command("enrol", "claude").text.startswith("claude is in")
    printed = capsys.readouterr().out
    assert "client secret  secret-2" in printed
    assert printed.count("the link was opened") == 1


def test_ctrl_c_closes_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert command("enrol", "claude").text.startswith("claude is not in")
    assert (host.state, host.server.clients) == ("inactive", {})


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["x\x1b", "--detach"], "NAME is"),
        (["", "--detach"], "NAME is"),
        (["x", "--json"], "--json needs --detach"),
        (["x", "--for", "1d"], "--for is"),
        (["x", "--redirect-uri", "https://evil.example/"], "loopback"),
    ],
)
def test_calls_that_are_wrong(host: Host, words: list[str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        command("enrol", *words)
    assert host.started == []


def test_only_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (["enrol", "x"], ["close"], ["list"], ["revoke", "x"], ["adopt"]):
        with pytest.raises(UsageError, match="run it with sudo"):
            command(*words)


def test_there_was_none() -> None:
    with pytest.raises(UsageError, match="there was no enrolment"):
        command("wait")
    with pytest.raises(UsageError, match="no enrolment is open"):
        clients_window.run(None)  # type: ignore[arg-type]


def test_revoked(host: Host) -> None:
    command("enrol", "claude", "--detach")
    host.token("client-1")
    host.end()
    with pytest.raises(UsageError, match="there is no client 'other'; there are: claude"):
        command("revoke", "other")
    assert command("revoke", "claude").document == {"revoked": ["client-1"], "tokens": 1}
    assert (host.server.clients, host.server.tokens, record.entries()) == ({}, {}, {})
    for words in ([], ["x", "--all"]):
        with pytest.raises(UsageError, match="name one client, or --all"):
            command("revoke", *words)
    command("enrol", "claude", "--detach")
    assert command("revoke", "--all").document["tokens"] == 0
    assert (host.state, host.server.clients) == ("inactive", {})
    assert command("list").text.startswith("no client was let in")


def test_adopted_and_restored(host: Host) -> None:
    host.server.clients["old"] = {"client_id": "old", "client_name": "a client"}
    assert command("adopt").document == {"adopted": ["old"]}
    host.server.clients = {"back": {"client_id": "back"}}
    assert command("adopt", "--restored").document == {"adopted": ["back"]}
    assert {each.how for each in record.entries().values()} == {"restored"}
    assert command("adopt").text == "adopted: none"


def rows() -> dict[str, tuple[str, str]]:
    return {each.name: (each.status, each.detail) for each in check.check()}


def test_the_rows(host: Host, here: Path) -> None:
    assert {name: status for name, (status, _detail) in rows().items()} == {"authorize": "ok", "enrolment": "ok", "clients": "ok"}
    command("enrol", "claude", "--detach")
    assert rows()["enrolment"][1].endswith("is open for another 10 min")
    assert rows()["clients"] == ("ok", "none")
    host.token("client-1")
    host.end()
    assert rows()["clients"][1].startswith("claude (enrolled 20")
    assert next(summary.summary())[1].startswith("claude")

    host.server.clients["stranger"] = {"client_id": "stranger", "client_name": "x\x1b"}
    assert rows()["clients"][0] == "fail"
    assert "x\\x1b (stranger) is there, and no enrolment let it in" in rows()["clients"][1]
    assert "NO ENROLMENT LET IT IN" in command("list").text
    del host.server.clients["client-1"]
    assert rows()["clients"][0] == "fail"
    assert rows()["clients"][1].startswith("claude (client-1) was replaced or removed")
    assert "NOT KNOWN TO THE SERVER" in command("list").text
    record.forget(["client-1"])
    host.server.clients.clear()
    assert rows()["clients"][0] == "fail", "a token whose client is gone"

    known = json.loads((here / "path.json").read_text())
    (here / "path.json").write_text(json.dumps(known | {"authorize": "public"}))
    assert (rows()["authorize"][0], rows()["clients"][0]) == ("warn", "warn")


def test_files_that_cannot_be_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host
    monkeypatch.setattr(state, "read", raising(NousVmError("it is a link")))
    assert rows()["clients"] == ("fail", "it is a link")


# the process that serves


@pytest.fixture
def connected(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, int, list[dict[str, str]]]]:
    """A socket that is served, the pipe that ends it, and what is told."""

    class Account:
        pw_uid = os.getuid()
        pw_gid = os.getgid()

    monkeypatch.setattr(pwd, "getpwnam", lambda _name: Account)
    monkeypatch.setattr(authorizer, "READ", 0.3)
    path, told = here / "served", list[dict[str, str]]()
    listener = authorizer.listening(path)
    reader, writer = os.pipe()
    handlers: dict[socket.socket, tuple[authorizer.Handler, int]] = {listener: (lambda request, body: denied(403, f"{request.path} {len(body)}", "told"), 10)}
    thread = threading.Thread(target=authorizer.serve, args=[handlers, reader, told.append])
    thread.start()
    yield path, writer, told
    os.close(writer)
    thread.join(5)
    assert not thread.is_alive()
    listener.close()


def asked(path: Path, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(5)
        made.connect(str(path))
        made.sendall(sent)
        received = b""
        while block := made.recv(65536):
            received += block
    return received


def test_requests_are_answered_one_a_connection(connected: tuple[Path, int, list[dict[str, str]]]) -> None:
    path, _writer, told = connected
    assert path.stat().st_mode & 0o777 == 0o600
    assert asked(path, b"GET /x HTTP/1.1\r\n\r\n").endswith(b"/x 0\n")
    assert asked(path, b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").endswith(b"/x 3\n")
    assert told == [{"event": "told"}] * 2
    for sent, why in (
        (b"GET\r\n\r\n", b"it is not a request"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 11\r\n\r\n", b"more than 10 bytes"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (authorizer.HEAD + 1), b"too large"),
    ):
        assert why in asked(path, sent)
    assert asked(path, b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\n") == b"", "one that stalls is cut"
    assert asked(path, b"GET /x HTTP/1.1\r\n\r\n").endswith(b"/x 0\n")


def test_what_is_told_is_acted_on(host: Host) -> None:
    config = configuration.load()
    host.server.clients["before"] = {"client_id": "before"}
    command("enrol", "own", "--dynamic", "--detach")
    assert host.server.clients.keys() == {"before"}
    about = window.current()
    assert about
    reader, writer = os.pipe()
    (authorize, _none), (register, limit) = unit.handlers(config, about, writer)
    head = Request("POST", "/register", {}, "160.79.104.9", {}, 0, "application/json")
    assert register(head, json.dumps({"redirect_uris": [BACK]}).encode()).status == 201
    assert limit == 16384
    assert host.server.clients.keys() == {"client-1"}, "as nous does"
    query = {"client_id": "client-1", "redirect_uri": BACK}
    assert authorize(Request("GET", "/authorize", query, "203.0.113.7", {}, 0, ""), b"").status == 302
    host.token("client-1")
    unit._watch(config, about, reader)
    assert host.server.clients.keys() == {"before", "client-1"}
    pending = window.pending()
    assert pending
    assert (pending.client_id, pending.single) == ("client-1", True)
    unit._tell(writer, {"event": "x"})
    assert unit._told(config, os.read(reader, 1000) + b"no JSON\n") == ""
    host.end()
    assert set(record.entries()) == {"client-1"}
    os.close(writer)
    unit._watch(config, about._replace(client_id=""), reader)
    os.close(reader)


def test_one_that_registered_as_the_power_was_cut(host: Host) -> None:
    command("enrol", "own", "--dynamic", "--detach")
    host.server.post_register({})
    host.end()
    assert host.server.clients == {}


def test_the_watch_ends_with_its_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host
    command("enrol", "claude", "--detach")
    about = window.current()
    assert about
    reader, writer = os.pipe()
    times = iter([window.now(), about.until])
    monkeypatch.setattr(window, "now", lambda: next(times))
    monkeypatch.setattr(unit, "LOOK", 0.0)
    unit._watch(configuration.load(), about, reader)
    os.close(reader)
    os.close(writer)


def test_both_processes_end_together(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that serves is a real one."""
    command("enrol", "claude", "--dynamic", "--detach")
    configuration.AUTHORIZE.unlink()
    served: list[Configuration] = []

    class Account:
        pw_uid = os.getuid()
        pw_gid = os.getgid()

    monkeypatch.setattr(pwd, "getpwnam", lambda _name: Account)
    monkeypatch.setattr(unit, "become_caddy", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_arguments: None)

    def watch(config: Configuration, _about: window.Window, _reader: int) -> None:
        assert b"403" in asked(configuration.AUTHORIZE, b"GET /authorize HTTP/1.1\r\n\r\n")
        served.append(config)

    monkeypatch.setattr(unit, "_watch", watch)
    unit.keep_open(configuration.load())
    assert len(served) == 1
    with pytest.raises(ConnectionRefusedError):
        asked(configuration.AUTHORIZE, b"")


def test_rights_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Account:
        pw_uid, pw_gid = 7, 8

    done: list[Any] = []
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: Account)
    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *ids: done.append(ids))
    authorizer.become_caddy()
    assert done == [([],), (8, 8, 8), (7, 7, 7)]
