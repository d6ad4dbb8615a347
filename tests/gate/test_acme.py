"""A certificate by ACME, from an authority of this host's own: Caddy's, in a second process on loopback."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import pytest
from conftest import Host, only_on
from wire import HOST, OPERATOR, STRANGER

AUTHORITY = "ca.example.org"
DIRECTORY = f"https://{AUTHORITY}:9443/acme/local/directory"
STATE = "/var/lib/gateway-test-authority"
CADDYFILE = f"""{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	storage file_system {STATE}
}}
https://{AUTHORITY}:9443 {{
	tls internal
	acme_server
}}
"""

SOONER = """
import json, subprocess
from pathlib import Path
loaded = json.loads(subprocess.check_output(["caddy", "adapt", "--config", "/etc/caddy/Caddyfile"]))
automation = loaded["apps"]["tls"]["automation"]
automation["renew_interval"] = "2s"
for policy in automation["policies"]:
    policy["renewal_window_ratio"] = 0.9999
Path("/etc/caddy/sooner.json").write_text(json.dumps(loaded))
"""
DROP_IN = "/run/systemd/system/caddy.service.d/sooner.conf"


@pytest.fixture(scope="module")
def authority(host: Host) -> Iterator[str]:
    """Return the authority's certificate; the host's Caddy trusts it and has a certificate of it."""
    host.sh(f"printf '%s' '{CADDYFILE}' > /etc/caddy/authority; echo '127.0.0.1 {AUTHORITY} {HOST}' >> /etc/hosts")
    host.sh(
        "systemd-run --quiet --unit=gateway-test-authority --uid=caddy --property=StateDirectory=gateway-test-authority"
        " caddy run --adapter caddyfile --config /etc/caddy/authority"
    )
    host.sh(f"for _ in $(seq 300); do test -s {STATE}/pki/authorities/local/root.crt && break; sleep 0.1; done")
    host.sh(f"cp {STATE}/pki/authorities/local/root.crt /usr/local/share/ca-certificates/gateway-test.crt && update-ca-certificates && systemctl restart caddy")
    run = host.play(caddy_gateway_tls="acme", caddy_gateway_acme_ca=DIRECTORY, caddy_gateway_acme_email="operator@example.org")
    assert run.returncode == 0, run.stdout
    yield host.sh(f"cat {STATE}/pki/authorities/local/root.crt") + "\n"
    assert host.play().returncode == 0
    host.sh("systemctl stop gateway-test-authority", check=False)


def presented(host: Host, authority: str) -> dict[str, object]:
    """Return the certificate, if a client that trusts the authority alone takes it for this name."""
    with host.client.secure(STRANGER, tls=ssl.create_default_context(cadata=authority)) as connection:
        return {**(connection.getpeercert() or {})}


def test_a_certificate_is_issued(host: Host, authority: str) -> None:
    assert presented(host, authority)["subjectAltName"] == (("DNS", HOST),)
    assert host.client.ask(OPERATOR, "/").seen
    assert host.client.ask(STRANGER, "/").denied == "address"


def test_the_way_of_the_authority_is_open_to_nothing_else(host: Host, authority: str) -> None:
    for port in (80, 443):
        answer = host.client.ask(STRANGER, "/.well-known/acme-challenge/x", port=port)
        assert answer.seen is None
        assert answer.status in (308, 403)


@only_on("debian-13", "the certificate's manager is one library in both")
def test_it_is_renewed(host: Host, authority: str) -> None:
    """Caddy renews by itself, with two numbers changed: it looks every 2 s, and renews after a ten-thousandth of the certificate's life."""
    before = presented(host, authority)["serialNumber"]
    host.sh(f"python3 -c '{SOONER}'; mkdir -p $(dirname {DROP_IN})")
    host.sh(f"printf '[Service]\\nExecStart=\\nExecStart=caddy run --config /etc/caddy/sooner.json\\n' > {DROP_IN}")
    host.sh("systemctl daemon-reload && systemctl restart caddy")
    end = time.monotonic() + 60
    while presented(host, authority)["serialNumber"] == before and time.monotonic() < end:
        assert host.client.ask(STRANGER, "/").denied == "address"
        time.sleep(1)
    host.sh(f"rm {DROP_IN} && systemctl daemon-reload && systemctl restart caddy && /usr/local/sbin/nous-vm gate apply")
    assert presented(host, authority)["serialNumber"] != before


def test_it_survives_a_restart_without_the_authority(host: Host, authority: str) -> None:
    """It is in Caddy's own state directory, and not asked for again."""
    before = presented(host, authority)["serialNumber"]
    host.sh("systemctl stop gateway-test-authority && systemctl restart caddy.service && /usr/local/sbin/nous-vm gate apply")
    assert presented(host, authority)["serialNumber"] == before
