# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stranger and the operator, both at the vendor's addresses, in every order: never a token without an enrolment, never two clients with one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients import configuration, enrolment, outcome, record, server, state, window
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.gatekeeper import COOKIE, Gatekeeper
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.messages import Reply, Request
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.revocation import revoke
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.clients.fake import FakeServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

BACK = "https://claude.ai/api/mcp/auth_callback"
WINDOW = 600
PERSON, VENDOR = "198.51.100.9", "160.79.104.9"  # a browser anywhere; a client in the pool that the stranger's is in too


class Takeover(RuleBasedStateMachine):
    """The gateway is what the role's Caddyfile says of these paths; tests/gate/test_client.py shows that Caddy does it."""

    @initialize()
    def a_host(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        here = Path(self.folder.name)
        self.server, self.clock = FakeServer(), 1000.0
        self.gate: Gatekeeper | None = None
        self.let_in: set[str] = set()  # that an enrolment let in, or has open
        self.client = self.refresh = self.secret = self.link = ""
        self.enrolling: enrolment.Details | None = None
        self.cookie = ""
        self.stranger: dict[str, str] = {}
        self.codes: set[str] = set()
        set_to = self.patch.setattr
        for name in ("RECORD", "PENDING", "WINDOW", "OUTCOME"):
            set_to(configuration, name, here / f"{name.lower()}.json")
        set_to(window, "RUNTIME", here)
        set_to(outcome, "RUNTIME", here)
        set_to(locks, "FOLDER", here / "locks")
        set_to(events, "record", lambda *_event, **_about: None)
        set_to(os, "fsync", lambda _descriptor: None)
        set_to(window, "now", lambda: self.clock)
        set_to(server.Server, "ask", lambda _server, *request: self.server.ask(*request))
        set_to(state, "read", self.server.state)
        set_to(state, "change", self.server.change)
        set_to(enrolment, "is_active", lambda _unit: self.gate is not None)
        set_to(enrolment, "_start", self.opened)
        self.config = Configuration("nous.example.org", "enrolment", "unix//run/nous/http.sock", here, [BACK], [])

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    # the host

    def opened(self, _config: Configuration, _seconds: int) -> None:
        about = window.current()
        assert about
        self.gate = Gatekeeper(about, [], lambda path: self.server.ask("GET", path))

    def ended(self) -> None:
        """The unit ended, whatever ended it, and systemd runs what completes it."""
        self.gate = None
        enrolment.complete(self.config)
        found = record.entries()
        if self.enrolling and self.enrolling.client_id in found:
            self.client, self.secret = self.enrolling.client_id, self.enrolling.client_secret
            self.let_in = {self.client}
        elif self.enrolling:
            self.let_in.discard(self.enrolling.client_id)
        self.enrolling = None

    def authorize(self, source: str, query: dict[str, str], cookie: str = "") -> Reply | None:
        """As the gateway has it: closed without an enrolment."""
        if self.gate is None:
            return None
        return self.gate.answer(Request("GET", "/authorize", query, source, {COOKIE: cookie} if cookie else {}, 0, ""))

    def token(self, **fields: str) -> dict[str, str]:
        """From a listed network, which both are in."""
        answer = self.server.ask("POST", "/token", urlencode(fields).encode(), "application/x-www-form-urlencoded")
        if answer.status == 200:
            assert fields["client_id"] in self.let_in, "a token without an enrolment"
        found: dict[str, str] = answer.json() if answer.status == 200 else {}
        return found

    # the operator

    @precondition(lambda self: self.gate is None)
    @rule()
    def enrol(self) -> None:
        self.enrolling = enrolment.begin(self.config, "claude", WINDOW)
        self.let_in.add(self.enrolling.client_id)
        self.cookie = ""
        if self.client:
            assert self.client in self.server.clients, "the one from before works on"

    @precondition(lambda self: self.enrolling is not None)
    @rule()
    def open_link(self) -> None:
        assert self.enrolling
        code = self.enrolling.link.partition("enrolment=")[2]
        reply = self.authorize(PERSON, {"enrolment": code, "confirm": "yes"}, self.cookie)
        if reply and "Set-Cookie" in reply.headers:
            self.cookie = reply.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

    @precondition(lambda self: self.enrolling is not None and self.cookie)
    @rule()
    def connect(self) -> None:
        assert self.enrolling
        reply = self.authorize(PERSON, {"client_id": self.enrolling.client_id, "redirect_uri": BACK}, self.cookie)
        assert reply
        if reply.status != 302:
            assert not self.gate or not self.gate.window.is_open()
            return
        code = parse_qs(urlsplit(reply.headers["Location"]).query)["code"][0]
        self.codes.add(code)
        made = self.token(client_id=self.enrolling.client_id, client_secret=self.enrolling.client_secret, code=code)
        self.refresh = made["refresh_token"]
        self.ended()  # at the first token
        assert self.client, "and the client is in"

    @precondition(lambda self: self.gate is None)
    @rule()
    def come_in(self) -> None:
        self.enrol()
        self.open_link()
        self.connect()

    @precondition(lambda self: bool(self.client))
    @rule()
    def refresh_token(self) -> None:
        made = self.token(client_id=self.client, client_secret=self.secret, refresh_token=self.refresh)
        assert made, "the operator's client was evicted"
        assert self.server.call(made["access_token"]) == 200
        self.refresh = made["refresh_token"]

    @precondition(lambda self: bool(self.client) and self.gate is None)
    @rule()
    def revoke(self) -> None:
        before = [each.token for each in self.server.tokens.values() if each.client_id == self.client]
        revoke(self.config, [self.client])
        record.forget([self.client])
        self.let_in.discard(self.client)
        assert {self.server.call(token) for token in before} <= {401}
        assert not self.token(client_id=self.client, client_secret=self.secret, refresh_token=self.refresh)
        self.client = ""

    # time

    @rule(seconds=st.sampled_from([1, WINDOW // 2, WINDOW + 1]))
    def wait(self, seconds: int) -> None:
        self.clock += seconds
        if self.gate is not None and not self.gate.window.is_open():
            self.ended()

    @precondition(lambda self: self.gate is not None)
    @rule()
    def reboot(self) -> None:
        """Nothing of /run is left, and nothing ran at the end."""
        self.gate, self.clock, self.cookie = None, 5.0, ""
        configuration.WINDOW.unlink()
        configuration.OUTCOME.unlink()
        assert window.current() is None
        self.ended()

    @precondition(lambda self: self.gate is not None)
    @rule()
    def close(self) -> None:
        self.ended()

    # the stranger

    @rule()
    def stranger_registers(self) -> None:
        """The gateway has no such path, for whomever."""
        self.stranger = {"client_id": "stranger", "client_secret": "x"}

    @rule(guess=st.sampled_from(["", "x", "0" * 32]), confirm=st.booleans())
    def stranger_guesses_the_link(self, guess: str, confirm: bool) -> None:
        reply = self.authorize(VENDOR, {"enrolment": guess, **({"confirm": "yes"} if confirm else {})})
        assert reply is None or reply.status == 403

    @precondition(lambda self: self.enrolling is not None and bool(self.cookie))
    @rule()
    def stranger_has_the_link_too_late(self) -> None:
        assert self.enrolling
        reply = self.authorize(VENDOR, {"enrolment": self.enrolling.link.partition("enrolment=")[2], "confirm": "yes"})
        assert reply is None or reply.status == 403

    @rule(cookie=st.sampled_from(["", "0" * 32]), own=st.booleans())
    def stranger_authorizes(self, cookie: str, own: bool) -> None:
        ids = [*self.server.clients, "stranger"]
        reply = self.authorize(VENDOR, {"client_id": ids[-1] if own else ids[0], "redirect_uri": BACK}, cookie)
        assert reply is None or reply.status == 403

    @precondition(lambda self: bool(self.cookie) and self.gate is not None and len(self.server.clients) > 1)
    @rule()
    def stranger_lures_the_browser(self) -> None:
        """To a link of a client that the enrolment is not for."""
        assert self.gate
        other = next(each for each in self.server.clients if each != self.gate.window.client_id)
        reply = self.authorize(PERSON, {"client_id": other, "redirect_uri": BACK}, self.cookie)
        assert reply
        assert reply.status == 403

    @precondition(lambda self: bool(self.stranger))
    @rule(code=st.sampled_from(["code-1", "code-2", "x"]))
    def stranger_asks_for_a_token(self, code: str) -> None:
        assert not self.token(**self.stranger, code=code)

    @precondition(lambda self: bool(self.server.clients))
    @rule(data=st.data())
    def stranger_knows_an_id(self, data: st.DataObject) -> None:
        client_id = data.draw(st.sampled_from(sorted(self.server.clients)))
        code = data.draw(st.sampled_from(sorted({*self.server.codes, "x"})))
        assert not self.token(client_id=client_id, client_secret="x", code=code)

    # what holds at any time

    @invariant()
    def nobody_else_has_a_token(self) -> None:
        holders = {each.client_id for each in self.server.tokens.values()} if hasattr(self, "server") else set()
        assert holders <= self.let_in
        if getattr(self, "gate", None) is None:
            assert len(holders) <= 1

    @invariant()
    def the_record_is_of_the_clients_there_are(self) -> None:
        if getattr(self, "gate", None) is None and hasattr(self, "server"):
            assert set(record.entries()) == set(self.server.clients)


Takeover.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TestTakeover = Takeover.TestCase
