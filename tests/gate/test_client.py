"""A public MCP client, through the gateway, to the stand-in for nous: only whom a person let in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Host
from wire import HOST, OPERATOR, STRANGER, VENDOR

CLIENT = REPOSITORY / "tests/clients/mcp_client.py"
STAND_IN = REPOSITORY / "tests/standin/src"
HOME = "/srv/nous"  # of the stand-in, on the host
NOBODY = 65534
# An account of its own for the files, which may read the tests' interpreter wherever that is.
ACCOUNT = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
REGISTER = ["/register", "/register?x", "/%72egister", "/register/", "//register", "/x/../register", "/REGISTER", "/register%20", "/register#x"]
AUTHORIZE = ["/authorize", "/authorize?enrolment=x", "/%61uthorize?client_id=x", "/authorize/", "//authorize", "/token/../authorize"]
# What pam_motd of Debian and Ubuntu runs as somebody logs in.
MOTD = "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin run-parts --lsbsysinit /etc/update-motd.d"
REGISTRATION = b'{"redirect_uris": ["https://claude.ai/api/mcp/auth_callback"]}'
Call = Callable[..., tuple[int, dict[str, Any], str]]  # source, browser, and the command that enrols; exit code, what was seen, errors


@pytest.fixture(scope="module")
def enrolling(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Close the gateway as it is by default, and put the stand-in where the server of the other tests was, with its files on the host."""
    run = host.play(caddy_gateway_authorize="enrolment", caddy_gateway_clients_directory=f"{HOME}/auth")
    assert run.returncode == 0, run.stdout
    host.sh(f"rm -rf {HOME} /var/lib/nous-vm/clients.json; install -d -o {NOBODY} -g {NOBODY} -m 0750 {HOME}")
    home = tmp_path_factory.mktemp("home")
    os.chown(home, NOBODY, NOBODY)
    environment = {"PYTHONPATH": str(STAND_IN), "PYTHONDONTWRITEBYTECODE": "1", "NOUS_HOME": str(home), "NOUS_TRANSPORT": "http"}
    environment |= {"NOUS_OAUTH_ENABLED": "true", "NOUS_OAUTH_ISSUER": f"https://{HOST}", "NOUS_OAUTH_STATE_DIR": "auth", "PATH": os.environ["PATH"]}
    host.backend.stop()
    with host.network.entered():
        server = subprocess.Popen(
            [*ACCOUNT, sys.executable, "-m", "nous", "serve"],
            env=environment,
            cwd=f"/proc/{host.pid}/root{HOME}",
            stderr=subprocess.PIPE,
            text=True,
        )
    assert server.stderr
    try:
        output = next((line for line in server.stderr if "Uvicorn running on" in line), "")
        assert output
        yield host
    finally:
        server.terminate()
        server.wait()
        host.sh("nous-vm clients close; rm -f /var/lib/nous-vm/clients.json", check=False)
        host.backend.start()
        run = host.play()
        assert run.returncode == 0, run.stdout
        assert host.client.ask(VENDOR, "/").status == 200


@pytest.fixture
def call(enrolling: Host, tmp_path: Path) -> Call:
    """Return what calls a tool from an address, with the browser at another."""
    authority = tmp_path / "root.crt"
    authority.write_text(enrolling.sh("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt") + "\n", encoding="ascii")

    def run(source: str, browser: str, enrol: str = "") -> tuple[int, dict[str, Any], str]:
        where = ["--address", "127.0.0.1", "--source-address", source, "--browser-source", browser, "--ca", str(authority)]
        where += ["--enrol", f"docker exec {enrolling.container} nous-vm clients enrol {enrol} --detach --json"] if enrol else []
        with enrolling.network.entered():
            done = subprocess.run([sys.executable, CLIENT, f"https://{HOST}", "note", '{"text": "hello"}', *where], capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    return run


def clients(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.sh("nous-vm clients list --json"))["clients"]
    return found


def row(host: Host) -> tuple[str, str]:
    rows = json.loads(host.sh("nous-vm check --json", check=False))["rows"]
    return next((each["status"], each["detail"]) for each in rows if (each["part"], each["name"]) == ("clients", "clients"))


def test_an_enrolled_client_and_a_browser_from_anywhere(enrolling: Host, call: Call) -> None:
    code, seen, output = call(VENDOR, STRANGER, "first")
    assert code == 0, output
    assert "hello" in json.dumps(seen["result"])
    paths = [path for _method, path, _status in seen["requests"]]
    assert {"/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", "/authorize", "/token"} <= set(paths)
    assert "/register" not in paths
    assert json.loads(enrolling.sh("nous-vm clients wait --timeout 20 --json"))["state"] == "enrolled"
    assert [each["name"] for each in clients(enrolling)] == ["first"]
    assert row(enrolling)[0] == "ok"


def test_a_stranger_in_the_vendors_range_gets_nowhere(enrolling: Host, call: Call) -> None:
    """With an enrolment open or without; and the operator's client goes on."""
    before = clients(enrolling)
    assert before
    for enrolment in (False, True):
        if enrolment:
            details = json.loads(enrolling.sh("nous-vm clients enrol second --detach --json"))
            assert len(clients(enrolling)) == 2, "the one from before works on"
        for path in REGISTER:
            for source in (VENDOR, OPERATOR, STRANGER):
                answer = enrolling.client.ask(source, path, "Content-Type: application/json", method="POST", body=REGISTRATION)
                assert (answer.status, answer.denied) in [(404, "path"), (403, "address"), (400, "")], (source, path, answer)
        for source in (VENDOR, STRANGER):
            for path in AUTHORIZE:
                assert enrolling.client.ask(source, path).denied in ("enrolment", "path", "address"), (source, path)
    authorize = f"/authorize?client_id={details['client_id']}&redirect_uri=http%3A%2F%2Flocalhost%3A3334%2Foauth%2Fcallback"
    assert enrolling.client.ask(VENDOR, authorize).denied == "enrolment"
    assert enrolling.client.ask(OPERATOR, authorize).status == 302, "a browser in the operator's networks needs no link"
    enrolling.sh("nous-vm clients close")
    assert [each["client_id"] for each in clients(enrolling)] == [each["client_id"] for each in before]
    assert enrolling.client.ask(OPERATOR, authorize).denied == "enrolment"
    assert row(enrolling)[0] == "ok"


def test_whatever_ends_the_window_it_is_closed(enrolling: Host) -> None:
    """Both of its processes are killed: systemd removes the sockets and completes it."""
    enrolling.sh("nous-vm clients enrol killed --detach --json")
    assert "no enrolment" not in enrolling.client.ask(STRANGER, "/authorize").rest.decode()
    enrolling.sh("systemctl kill --kill-whom=main --signal=KILL nous-vm-enrolment.service; nous-vm clients wait --timeout 20 || true")
    # systemd removes them when the unit's last process has ended, which is the one that completes it.
    enrolling.sh("timeout 20 sh -c 'while [ -e /run/nous-vm-enrolment ]; do sleep 0.1; done'")
    assert "no enrolment is open" in enrolling.client.ask(STRANGER, "/authorize").rest.decode()
    assert "killed" not in {each["name"] for each in clients(enrolling)}
    assert not enrolling.sh("ls /var/lib/nous-vm/enrolment.json || true")


def test_another_client_takes_the_place_of_the_first(enrolling: Host, call: Call) -> None:
    """One that registers itself; and old tokens are gone."""
    code, seen, output = call(VENDOR, STRANGER, "second --dynamic")
    assert code == 0, output
    assert ["POST", "/register", 201] in seen["requests"]
    enrolling.sh("nous-vm clients wait --timeout 20")
    assert [(each["name"], each["tokens"]) for each in clients(enrolling)] == [("second", 2)]
    assert json.loads(enrolling.sh("nous-vm clients revoke second --json"))["tokens"] == 2
    assert enrolling.sh(f"cat {HOME}/auth/tokens.json {HOME}/auth/clients.json") == "{}{}"


def test_secrets_are_in_no_log(enrolling: Host) -> None:
    details = json.loads(enrolling.sh("nous-vm clients enrol quiet --detach --json"))
    code = details["link"].partition("=")[2]
    assert enrolling.client.ask(STRANGER, f"/authorize?enrolment={code}&confirm=yes").status == 200
    assert enrolling.client.ask(STRANGER, f"/authorize?enrolment={code}").status == 403
    logs = (
        "journalctl --sync; tail -n 200 /var/log/caddy/access.log; journalctl --no-pager --lines=500; tail -n 50 /var/log/nous-vm/trail.jsonl; ps axww -o args"
    )
    found = enrolling.sh(logs)
    assert "/authorize..." in found
    assert code not in found
    assert details["client_secret"] not in found
    files = enrolling.sh("find /run /var/lib/nous-vm /tmp -xdev -type f -perm /044 -newer /var/lib/nous-vm/enrolment.json 2>/dev/null | xargs -r cat")
    assert code not in files
    assert details["client_secret"] not in files
    enrolling.sh("nous-vm clients close")


def test_an_address_is_allowed_for_a_time(enrolling: Host) -> None:
    """And Caddy knows when it is over; nothing has to run then."""
    assert enrolling.client.ask(STRANGER, "/").denied == "address"
    assert "also allows" not in enrolling.sh(MOTD)
    enrolling.sh(f"nous-vm gate allow {STRANGER} --for 1m")
    try:
        assert enrolling.client.ask(STRANGER, "/").status == 401, "the server's own answer"
        assert f"The gateway also allows {STRANGER}/32 until" in enrolling.sh(MOTD)
        assert f"{STRANGER}/32 until" in enrolling.sh("nous-vm status")
        assert enrolling.client.ask(STRANGER, "/register", method="POST").denied == "address"
        assert json.loads(enrolling.sh("nous-vm gate list --json"))["for_a_time"][0]["network"] == f"{STRANGER}/32"
        assert enrolling.sh("nous-vm gate state --json | grep served").strip() == '"served": true,'
        over = r"sed -i -E 's/(unix\}\)) < [0-9]+/\1 < 1700000000/' /var/lib/nous-vm/gate-allowed.caddy; nous-vm gate reload"
        enrolling.sh(over)
        assert enrolling.client.ask(STRANGER, "/").denied == "address"
        enrolling.sh("sed -i -E 's/(\"until\": )[0-9.]+/\\1 1700000000/' /var/lib/nous-vm/gate-allowed.json")
        assert "also allows" not in enrolling.sh(MOTD)
    finally:
        enrolling.sh(f"nous-vm gate forget {STRANGER}")
    assert enrolling.client.ask(STRANGER, "/").denied == "address"
