"""Traffic is paused for reasons, and flows when nobody has any; the fakes of the unit tests do what the real proxy and systemd do."""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.proxy import REJECT, Proxy
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host as FakeHost
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import fake_host
from controller import wait
from host import PROXY, UNIT, Host

ADMIN = "/run/nous-proxy-admin/haproxy.sock"


@pytest.fixture
def paused(host: Host) -> Iterator[Host]:
    """A host whose traffic flows again afterwards, whatever comes."""
    yield host
    host.sh("nous-vm resume; nous-vm traffic")
    assert host.check()["traffic"] == "ok"


def nous_vm(host: Host, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(host.sh(" ".join(["/usr/local/sbin/nous-vm", *words, "--json"])))
    return document


def traffic(host: Host) -> str:
    """Return what the proxy does; it may be away."""
    return host.package(f"from nous_vm.deploy.proxy import Proxy; print(Proxy('{ADMIN}').traffic())", check=False)


def test_a_pause_fails_no_request(paused: Host) -> None:
    """Nor does a restart of the proxy, or a kill, in it: whoever waits is answered. Started anew it may let in whom it can until it is told."""
    with paused.load() as load:
        nous_vm(paused, "pause", "'a test'")
        wait(lambda: load.now["waiting"] > 0, "requests to wait")
        paused.sh(f"systemctl restart {PROXY}")
        wait(lambda: paused.in_flight() == 0, "what it let in to be answered")
        paused.sh(f"systemctl kill --signal=KILL {PROXY}")
        wait(lambda: paused.show("NRestarts", PROXY) == "1" and traffic(paused) == "paused", "the proxy to come back")
        assert nous_vm(paused, "resume") == {"changed": True, "reasons": []}
        load.settle()
    load.assert_nothing_failed()
    assert paused.rows()["restarts of the proxy"][0] == "warn"
    paused.sh(f"systemctl restart {PROXY}")  # which forgets that it was killed
    assert [event["event"] for event in nous_vm(paused, "history")["events"]][-2:] == ["paused", "resumed"]


def test_who_pauses_is_named(paused: Host) -> None:
    nous_vm(paused, "pause", "'a test'")
    status, detail = paused.rows()["traffic"]
    assert (status, "held by operator since" in detail, "a test (root)" in detail) == ("fail", True, True)


def test_a_rejection_says_when_to_come_back(paused: Host) -> None:
    nous_vm(paused, "pause", "'a test'", "--reject", "--for", "90s")
    answer = paused.through_the_proxy().lower()
    assert answer.startswith("http/1.1 503")
    assert 60 <= int(re.findall(r"retry-after: (\d+)", answer)[0]) <= 90
    paused.sh(f"systemctl restart {PROXY}")
    assert paused.through_the_proxy().startswith("HTTP/1.1 503"), "it outlives a restart of the proxy"
    nous_vm(paused, "resume")
    assert paused.through_the_proxy().startswith("HTTP/1.1 200")


def test_a_pause_ends_by_itself(paused: Host) -> None:
    nous_vm(paused, "pause", "'a test'", "--for", "2s")
    assert traffic(paused) == "paused"
    wait(lambda: traffic(paused) == "flows", "its end")


def test_a_restart_of_the_server_does_not_end_a_pause(paused: Host) -> None:
    """Each owner clears a reason of its own."""
    nous_vm(paused, "pause", "'a test'")
    paused.sh(f"systemctl restart {UNIT}")
    assert traffic(paused) == "paused"


def test_all_that_runs_as_the_server_is_in_one_slice(host: Host) -> None:
    host.sh("systemctl start nous-state-flush.service")
    assert host.show("ControlGroup") == f"/nous.slice/{UNIT}"
    assert {host.show("Slice", unit) for unit in (UNIT, "nous-state-flush.service")} == {"nous.slice"}


# The contract of the fakes


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    with fake_host(tmp_path, monkeypatch) as made:
        yield made


CONVERSATION = [
    f"clear map {REJECT}; enable frontend nous",
    "enable frontend nous",
    "disable frontend nous",
    "disable frontend nous",
    f"show map {REJECT}",
    f"clear map {REJECT}; add map {REJECT} all 5; enable frontend nous",
    f"show map {REJECT}",
    f"clear map {REJECT}",
    f"show map {REJECT}",
    "shutdown sessions server requests/nous",
]
ASK = """
import json, socket, sys
def ask(command):
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(PATH)
        admin.sendall(command.encode() + b"\\n")
        return b"".join(iter(lambda: admin.recv(65536), b"")).decode()
print(json.dumps([ask(command) for command in COMMANDS]))
"""


def test_the_fake_proxy_answers_as_the_real_one(paused: Host, fake: FakeHost) -> None:
    script = ASK.replace("PATH", repr(ADMIN)).replace("COMMANDS", repr(CONVERSATION))
    real = json.loads(paused.sh("python3 -", stdin=script))
    proxy = Proxy(fake.proxy.path)
    pretended = [proxy.command(command) for command in CONVERSATION]

    def plain(answers: list[str]) -> list[list[str]]:
        return [[re.sub("0x[0-9a-f]+", "0x1", line) for line in answer.splitlines() if line.strip()] for answer in answers]

    assert plain(pretended) == plain(real)


def test_the_fake_proxy_has_the_real_one_s_columns(paused: Host, fake: FakeHost) -> None:
    """What Proxy reads of them, while traffic flows and is paused."""
    proxy = Proxy(fake.proxy.path)
    program = "from nous_vm.deploy.proxy import Proxy; p = Proxy({path!r}); print([p.traffic(), p.in_flight(), p._stat('nous', 'FRONTEND', 'status')])"
    for command in ("enable frontend nous", "disable frontend nous"):
        paused.sh("python3 -", stdin=ASK.replace("PATH", repr(ADMIN)).replace("COMMANDS", repr([command])))
        proxy.command(command)
        wait(lambda: "0, [" in paused.package(program.format(path=ADMIN)), "no request to be under way")
        assert paused.package(program.format(path=ADMIN)) == repr([proxy.traffic(), proxy.in_flight(), proxy._stat("nous", "FRONTEND", "status")])


QUERIES = [
    "show --property=ActiveState,NRestarts,MainPID nous-proxy.service",
    "show --property=ActiveState nous-proxy.service nous-proxy.socket",
    "show --property=NeedDaemonReload --value nous-proxy.service nous-proxy.socket",
    "is-active nous-proxy.service",
    "is-active no-such.service",
    "is-enabled nous-proxy.service nous-proxy.socket",
    "is-system-running",
    "reset-failed nous-proxy.service",
    "daemon-reload",
]


@pytest.mark.parametrize("query", QUERIES)
def test_the_fake_systemd_answers_as_the_real_one(host: Host, fake: FakeHost, query: str) -> None:
    """In form: a word where it gives a word, and the same number of lines and of blocks."""
    real = host.sh(f"systemctl {query}", check=False)
    fake.systemd.enabled |= {PROXY, "nous-proxy.socket"}

    def form(answer: str) -> str:
        plain = re.sub(r"\d+|degraded", lambda found: "running" if found[0] == "degraded" else "N", answer.strip())
        return "\n\n".join("\n".join(sorted(block.splitlines())) for block in plain.split("\n\n"))  # properties come in an order of systemd's own

    assert form(fake.systemd.systemctl(query.split())) == form(real)


def answers(server: Any, pid: int) -> list[object]:
    """Return what a deployment looks at of a server's answers; this runs on the host too."""
    import json
    import time

    found: list[object] = []
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).encode()
    for method, path, sent in (("POST", "/", body), ("GET", "/.well-known/oauth-protected-resource", None)):
        answer = server._ask(pid, method, path, sent, time.monotonic() + 5)
        found += [answer.status, answer.headers.get("www-authenticate", "")[:6], answer.status == 200 and "resource" in answer.json()]
    return found


def test_the_fake_server_answers_as_the_real_one(host: Host, fake: FakeHost) -> None:
    program = f"from typing import Any\n{inspect.getsource(answers)}\nfrom nous_vm.deploy.service import service\nprint(answers(service().server, PID))"
    assert host.package(program.replace("PID", host.show("MainPID"))) == repr(answers(fake.service().server, 1))


def test_a_client_that_waits_is_answered(paused: Host) -> None:
    """Held in the socket, which is systemd's, it is accepted when the pause ends."""
    nous_vm(paused, "pause", "'a test'")
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(paused.through_the_proxy()))
    client.start()
    client.join(1)
    assert client.is_alive(), "it did not wait"
    nous_vm(paused, "resume")
    client.join()
    assert answers[0].startswith("HTTP/1.1 200")
