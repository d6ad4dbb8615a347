"""The gateway beside other sites: in a file that the Caddyfile of an estate imports."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import proxy
import pytest
from conftest import Host, only_full, only_on
from controller import wait
from wire import HOST, OPERATOR, STRANGER, VENDOR, context, parsed

OTHER = "shop.example.org"
SITES = f"""
import /etc/caddy/conf.d/*.caddy

https://{OTHER} {{
\ttls internal
\trespond "the shop"
}}

http://{OTHER}:8090 {{
\trespond "the back of the shop"
}}
"""
LAX = "{\n\temail owner@example.org\n\tskip_install_trust\n}\n"
FOLDERS = "/etc/caddy /etc/caddy/conf.d"
FILES = "/etc/caddy/Caddyfile /etc/caddy/conf.d/more.caddy"


class Estate:
    """Somebody else's Caddy."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def write(self, block: str, sites: str = SITES) -> None:
        self.host.sh(f"cat > /etc/caddy/Caddyfile << 'END'\n{block}{sites}END\nsystemctl restart caddy.service")

    def play(self, **variables: object) -> subprocess.CompletedProcess[str]:
        return self.host.play(caddy_gateway_snippet="/etc/caddy/conf.d/nous.caddy", **variables)

    def state(self) -> str:
        """Return what is the estate's own, and the process that serves it."""
        return self.host.sh(f"sha256sum {FILES}; stat -c '%n %y %U:%G %a' {FILES}; stat -c '%n %U:%G %a' {FOLDERS}; systemctl show -p MainPID caddy.service")

    def serves(self) -> None:
        for source in (OPERATOR, STRANGER):
            with self.host.client.secure(source, OTHER) as front, self.host.client.connect(source, 8090) as back:
                for connection, output in ((front, b"the shop"), (back, b"the back of the shop")):
                    connection.sendall(f"GET / HTTP/1.1\r\nHost: {OTHER}\r\nConnection: close\r\n\r\n".encode())
                    assert connection.makefile("rb").read().endswith(output)


def lines(run: subprocess.CompletedProcess[str]) -> str:
    """Return the global block that a rejection gives."""
    output = run.stdout.split("have these lines in its global block:", 1)[1].encode().decode("unicode_escape")
    return output[output.index("{") : output.index("\n}") + 2] + "\n"


@pytest.fixture(scope="module")
def estate(host: Host) -> Iterator[Estate]:
    assert host.play(caddy_gateway_state="absent").returncode == 0
    host.sh("mkdir -p /etc/caddy/conf.d; printf 'http://more.example.org {\\n\\trespond more\\n}\\n' > /etc/caddy/conf.d/more.caddy")
    made = Estate(host)
    made.write(LAX)
    yield made
    host.sh("rm -r /etc/caddy/conf.d /etc/caddy/Caddyfile; systemctl disable --now caddy.service")
    assert host.play().returncode == 0


def test_a_lax_estate_is_told_which_lines_to_add(estate: Estate) -> None:
    before = estate.state()
    run = estate.play()
    assert run.returncode != 0
    block = lines(run)
    wanted = ["admin unix//", "grace_period", "protocols h1 h2", "max_header_size", "read_header", "read_body", "idle", "log default", "request>headers delete"]
    assert [each for each in wanted if each not in block] == [], block
    assert estate.state() == before
    assert estate.host.sh("ls /etc/caddy/conf.d; ls /usr/local/sbin /etc/systemd/system/caddy.service.d").split("\n")[0] == "more.caddy"
    estate.serves()
    estate.write(block.replace("{", "{\n\temail owner@example.org\n\tskip_install_trust", 1))
    again = estate.play()
    assert "have these lines" not in again.stdout, again.stdout
    assert again.returncode == 0, again.stdout


ONE_LESS = {
    "admin unix//var/lib/caddy/admin.sock": "admin localhost:2019",
    "grace_period 15s": "grace_period 0s",
    "protocols h1 h2": "protocols h1 h2 h3",
    "read_header 10s": "read_header 10h",
    "resp_headers delete": "user_id delete",
}


LACKS = """
import sys
from pathlib import Path
sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.gateway.estate import lacking
print(lacking(Path(sys.argv[1]), Path("/etc/caddy/conf.d/nous.caddy").read_text(), sys.argv[2]))
"""


def lacks(estate: Estate, file: str = "/etc/caddy/conf.d/nous.caddy") -> str:
    """Query what lacks of the package alone: it reads the Caddyfile, whatever Caddy serves."""
    argv = ["docker", "exec", estate.host.container, "python3", "-I", "-c", LACKS, file, HOST]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("line", ONE_LESS)
def test_one_line_that_is_not_so_is_named(estate: Estate, line: str) -> None:
    estate.host.sh(f"cp --preserve /etc/caddy/Caddyfile /run/kept; sed --in-place 's|{line}|{ONE_LESS[line]}|' /etc/caddy/Caddyfile")
    try:
        assert f"\t{line}\n" in lacks(estate)
    finally:
        estate.host.sh("cp --preserve /run/kept /etc/caddy/Caddyfile")


def test_a_file_that_is_not_imported_is_rejected(estate: Estate) -> None:
    assert lacks(estate) == "\n"
    assert "/etc/caddy/Caddyfile does not import /etc/caddy/elsewhere/nous.caddy; " in lacks(estate, "/etc/caddy/elsewhere/nous.caddy")


def test_a_site_that_is_there_already_is_rejected(estate: Estate) -> None:
    estate.host.sh(f"cp /etc/caddy/conf.d/more.caddy /run/kept; printf 'http://{HOST} {{\\n}}\\n' >> /etc/caddy/conf.d/more.caddy")
    try:
        assert "Caddy does not accept /etc/caddy/Caddyfile together with /etc/caddy/conf.d/nous.caddy: " in lacks(estate)
    finally:
        estate.host.sh("cp /run/kept /etc/caddy/conf.d/more.caddy")


def test_the_gateway_holds_and_the_estate_is_as_it_was(estate: Estate) -> None:
    client, before = estate.host.client, estate.state()
    assert client.ask(OPERATOR, "/").seen
    assert client.ask(VENDOR, "/token").seen
    assert client.ask(STRANGER, "/authorize?x").seen
    for target in ("/", "/token", "//authorize", "/AUTHORIZE", "/x/../authorize"):
        answer = client.ask(STRANGER, target, f"X-Forwarded-For: {VENDOR}")
        assert (answer.status, answer.denied, answer.seen) == (403, "address", None)
    for sni, name in ((OTHER, HOST), (HOST, OTHER)):
        with client.secure(STRANGER, sni) as connection:
            connection.sendall(f"GET /token HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            assert parsed(connection.recv(65536)).denied in ("address", "")
    assert client.ask(STRANGER, "/", port=80).headers["location"] == f"https://{HOST}/"
    assert estate.host.sh("test ! -e /etc/systemd/system/caddy.service.d/caddy-gateway.conf && nous-vm check | grep sandbox").split()[4] == "warn"
    assert "203.0.113.5" in estate.host.sh("nous-vm gate denied")
    again = estate.play()
    assert "changed=0" in again.stdout, again.stdout
    assert estate.state() == before
    estate.serves()


def test_secrets_are_not_written_down(estate: Estate) -> None:
    """Of a request that fails too, which Caddy would log with all of it; of a stranger's it logs nothing."""
    client, host, path = estate.host.client, estate.host, f"/{uuid.uuid4().hex}"
    host.sh(f"systemctl stop {proxy.UNITS}")
    try:
        for source, asked in ((STRANGER, "/authorize"), (OPERATOR, path)):
            assert client.ask(source, f"{asked}?code=SECRET-code", "Authorization: Bearer SECRET-token").status == 502
    finally:
        host.sh(f"systemctl start {proxy.UNITS}")

    def output() -> str:
        return host.sh("cat /var/log/caddy/*.log; journalctl --output=cat --unit=caddy.service")

    wait(lambda: f'"uri":"{path}..."' in output(), "the request to be written down")
    assert "SECRET" not in output()


@only_on("debian-13", "another run of the role")
def test_a_change_that_cannot_be_served_is_rolled_back(estate: Estate) -> None:
    before, snippet = estate.state(), estate.host.sh("cat /etc/caddy/conf.d/nous.caddy")
    run = estate.play(__caddy_gateway_caddyfile=snippet.partition("\n")[2] + "\nhttp://nous.example.org:8088 {\n\trespond hello\n}\n")
    assert run.returncode != 0
    assert "Rolled back: the configuration from before serves." in " ".join(run.stdout.split()), run.stdout
    assert estate.host.sh("cat /etc/caddy/conf.d/nous.caddy") == snippet
    assert estate.state().splitlines()[:-1] == before.splitlines()[:-1], "Caddy may be restarted"
    estate.serves()


@only_full("two more runs")
def test_the_sandbox_is_there_for_who_wants_it(estate: Estate) -> None:
    host = estate.host
    run = estate.play(caddy_gateway_sandbox_shared=True)
    assert run.returncode == 0, run.stdout
    assert float(host.sh("systemd-analyze security --no-pager caddy.service | grep -oE 'level for caddy.service: [0-9.]+' | grep -oE '[0-9.]+$'")) <= 1.4
    estate.serves()

    # It goes with a configuration that can be served, and not before.
    rejected = estate.play(caddy_gateway_tls="files", caddy_gateway_tls_certificate="/absent.pem", caddy_gateway_tls_key="/absent.key")
    assert "open /absent.pem: no such file or directory" in " ".join(rejected.stdout.split()), rejected.stdout
    host.sh("test -e /etc/systemd/system/caddy.service.d/caddy-gateway.conf")


@only_on("debian-13", "another run of the role")
def test_it_goes_and_the_estate_stays(estate: Estate) -> None:
    before = estate.state()
    run = estate.play(caddy_gateway_state="absent")
    assert run.returncode == 0, run.stdout
    assert estate.host.sh("ls /etc/caddy/conf.d") == "more.caddy"
    with pytest.raises(OSError), estate.host.client.secure(OPERATOR, tls=context()):
        pass
    assert estate.state().splitlines()[:-1] == before.splitlines()[:-1]
    assert estate.host.sh("systemctl is-active caddy.service; systemctl is-enabled caddy.service", check=False).split()[0] == "active"
    estate.serves()


@only_on("debian-13", "another run of the role")
def test_a_first_change_that_cannot_be_served_is_removed(estate: Estate) -> None:
    before = estate.state()
    body = "".join(f"{site} {{\n\trespond hello\n}}\n" for site in (f"http://{HOST}", f"http://{HOST}:8088", f"https://{HOST}"))
    run = estate.play(__caddy_gateway_caddyfile=body)
    assert run.returncode != 0
    assert "nous.caddy was removed again" in " ".join(run.stdout.split()), run.stdout
    assert estate.host.sh("ls /etc/caddy/conf.d") == "more.caddy"
    assert estate.state().splitlines()[:-1] == before.splitlines()[:-1]
    estate.serves()
