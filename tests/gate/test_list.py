"""A list of networks of the operator's own, from an https server of this host's own: it adds to the allow list, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Host, only_full
from wire import OPERATOR, STRANGER

NAME = "lists.example.org"
URL = f"https://{NAME}:9444/vendor.txt"
UNIT, FOLDER = "gateway-test-lists", "/var/lib/gateway-test-lists"
FETCH = "nous-gateway-list"
CADDYFILE = f"""{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	storage file_system {FOLDER}/storage
}}
https://{NAME}:9444 {{
	tls internal
	root * {FOLDER}
	redir /inside.txt https://localhost:9444/vendor.txt
	file_server
}}
"""

pytestmark = only_full("four runs of the role; molecule has a list that does not answer")


@pytest.fixture(scope="module")
def listing(host: Host) -> Iterator[Host]:
    """A host that fetches a list, which has the stranger on it."""
    host.sh(f"printf '%s' '{CADDYFILE}' > /etc/caddy/lists; grep -q {NAME} /etc/hosts || echo '127.0.0.1 {NAME}' >> /etc/hosts")
    host.sh(f"systemd-run --quiet --unit={UNIT} --uid=caddy --property=StateDirectory={UNIT} caddy run --adapter caddyfile --config /etc/caddy/lists")
    root = f"{FOLDER}/storage/pki/authorities/local/root.crt"
    host.sh(f"for _ in $(seq 300); do test -s {root} && break; sleep 0.1; done; cp {root} /usr/local/share/ca-certificates/lists.crt; update-ca-certificates")
    offer(host, f"{STRANGER}/32  # a test")
    run = host.play(caddy_gateway_anthropic_cidrs_url=URL)
    assert run.returncode == 0, run.stdout
    yield host
    host.sh(f"systemctl stop {UNIT}; rm /usr/local/share/ca-certificates/lists.crt; update-ca-certificates --fresh", check=False)
    assert host.play().returncode == 0
    assert host.sh("ls /var/lib/nous-vm /etc/systemd/system | grep gate-list", check=False) == ""
    assert host.client.ask(STRANGER, "/").denied == "address"


def offer(host: Host, text: str) -> None:
    host.write(f"{FOLDER}/vendor.txt", text)


def fetched(host: Host) -> bool:
    return host.sh(f"systemctl start {FETCH} && echo done", check=False) == "done"


def let_in(host: Host) -> bool:
    """Tell whether the stranger is, and forget that the server saw him: the suite counts on its not having."""
    found = host.client.ask(STRANGER, "/").seen
    if found:
        host.backend.seen.remove(found)
    return found is not None


def row(host: Host) -> tuple[str, str]:
    rows = json.loads(host.sh("nous-vm check --json", check=False))["rows"]
    return next((each["status"], each["detail"]) for each in rows if each["name"] == "fetched list")


def test_what_it_has_is_allowed_and_its_age_is_a_row(listing: Host) -> None:
    assert let_in(listing)
    assert row(listing) == ("ok", f"1 networks of {URL}, fetched 0 h ago")
    assert json.loads(listing.sh("nous-vm gate list --json"))["fetched"] == [f"{STRANGER}/32"]
    assert "changed=0" in listing.play(caddy_gateway_anthropic_cidrs_url=URL).stdout
    assert float(listing.sh(f"systemd-analyze security --no-pager {FETCH}.service | grep -oE 'level for .*: [0-9.]+' | grep -oE '[0-9.]+$'")) <= 1.5


@pytest.mark.parametrize("wrong", ["0.0.0.0/0", "<html>", "", "127.0.0.0/8", "# \u202e\n1.2.3.4/5"])
def test_whatever_else_it_becomes_the_list_from_before_stays(listing: Host, wrong: str) -> None:
    offer(listing, wrong)
    assert not fetched(listing)
    assert let_in(listing)
    status, detail = row(listing)
    assert (status, "the last attempt failed" in detail) == ("ok", True)
    assert json.loads(listing.sh("nous-vm gate state --json"))["served"] is True
    assert listing.sh(f"ls /run/{FETCH}", check=False) == ""


def test_a_redirect_into_this_host(listing: Host) -> None:
    listing.sh("sed -i 's|vendor.txt\"|inside.txt\"|' /etc/nous-vm/gateway.json && nous-vm gate apply")
    try:
        assert not fetched(listing)
        assert "which is at" in listing.sh(f"journalctl --unit={FETCH} --lines=20 --output=cat")
    finally:
        listing.sh("sed -i 's|inside.txt\"|vendor.txt\"|' /etc/nous-vm/gateway.json && nous-vm gate apply")
    assert let_in(listing)


def test_what_it_has_no_longer_is_allowed_no_longer(listing: Host) -> None:
    offer(listing, "198.51.100.0/24")
    assert fetched(listing)
    assert not let_in(listing)
    assert listing.client.ask(OPERATOR, "/").seen, "what the inventory lists stays"
    assert "list of networks applied" in listing.sh("tail -n 1 /var/log/nous-vm/trail.jsonl")
