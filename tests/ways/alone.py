"""A host with the roles egress_proxy and backup alone, a service in a network of its own, and a world outside that is another network of the same container."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import container
from container import CACHES, FLAGS
from controller import REPOSITORY, wait
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from forms import Form

FULL = os.environ.get("NOUS_VM_WAYS") == "full"
FORM = Form(FULL, "make ways-full")
only_full, only_on = FORM.only_full, FORM.only_on
NAME, API, NEAR = "api.anthropic.com", "160.79.104.10", "160.79.104.1"
COLLECTOR_NAME, COLLECTOR = "otel.example.org", "10.77.0.2"
OUTSIDE = "/run/outside"
ALLOW = [{"name": NAME, "port": 443}, {"name": COLLECTOR_NAME, "port": 443, "network": "10.77.0.0/24"}]
SOCKET, PROXY = "nous-egress.socket", "nous-egress.service"
UNIT = """[Service]
ExecStart=/usr/bin/sleep infinity
PrivateNetwork=yes
"""
WORLD = f"""
ip netns list | grep -q outside && exit 0
mount --make-shared /run 2>/dev/null || true
ip netns add outside
ip link add near type veth peer name far netns outside
ip address add {NEAR}/24 dev near && ip link set near up
ip -n outside link set lo up && ip -n outside address add {API}/24 dev far && ip -n outside link set far up
ip address add 10.77.0.1/24 dev near && ip -n outside address add {COLLECTOR}/24 dev far
echo '{COLLECTOR} {COLLECTOR_NAME}' >> /etc/hosts
"""


def certificates(*names: str) -> tuple[str, str]:
    """Return an authority, and a certificate of its with the key, for some names."""
    now, key, authority_key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def build(subject: x509.Name, public: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority_key, hashes.SHA256())

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = build(issuer, authority_key.public_key(), (x509.BasicConstraints(True, 0), True), (usage, True), (identifier, False))
    of_authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    leaf = build(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
        key.public_key(),
        (x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False),
        (of_authority, False),
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    return authority.public_bytes(pem).decode(), (private + leaf.public_bytes(pem)).decode()


class Host:
    """A container with systemd as its first process."""

    def __init__(self, platform: str, work: Path) -> None:
        self.platform, self.work = platform, work
        self.container = container.shared_name(f"nous-vm-ways-test-{platform}")

    def start(self) -> None:
        container.start(self.container, f"nous-vm-host:{self.platform}-packages", *FLAGS, *CACHES)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        self.put("/etc/systemd/system/nous.service", UNIT)
        self.sh(f"systemctl daemon-reload; systemctl start nous.service; mkdir -p {OUTSIDE}")
        authority, api = certificates(NAME, COLLECTOR_NAME)
        self.put(f"{OUTSIDE}/ca.pem", authority)
        self.put(f"{OUTSIDE}/api.pem", api)
        self.put(f"{OUTSIDE}/outside.py", Path(__file__).with_name("outside.py").read_text(encoding="utf-8"))
        self.sh(WORLD)
        self.sh(f"systemctl stop outside 2>/dev/null || true; rm -f {OUTSIDE}/ready")
        self.sh(f"systemd-run --quiet --collect --unit=outside ip netns exec outside python3 {OUTSIDE}/outside.py far {OUTSIDE}")
        wait(lambda: self.sh(f"ls {OUTSIDE}/ready", check=False), "the world outside")
        self.names(API)

    def remove(self) -> None:
        container.remove(self.container)

    def sh(self, script: str, check: bool = True, stdin: str | None = None) -> str:
        command = ["docker", "exec", "--interactive", self.container, "sh", "-eu", "-c", script]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.sh(f'mkdir -p "$(dirname {path})" && cat > {path}', stdin=content)

    def play(self, *options: str, **variables: object) -> str:
        """Run the roles; return what was printed."""
        extra = json.dumps({"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"} | variables)
        command = ["ansible-playbook", "tests/ways/roles.yml", "--inventory", f"{self.container},", "--extra-vars", extra, *options]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def rows(self, part: str) -> dict[str, tuple[str, str]]:
        """Return status and detail of the rows of a part of nous-vm check."""
        found = json.loads(self.sh("/usr/local/sbin/nous-vm check --json || true"))
        return {row["name"]: (row["status"], row["detail"]) for row in found["rows"] if row["part"] == part}

    def back_up(self) -> tuple[int, str]:
        """Make a backup; return the exit code and what was printed."""
        printed = self.sh("code=0; /usr/local/sbin/nous-vm backup offsite --json || code=$?; echo $code")
        text, _end, code = printed.rpartition("\n")
        return int(code), text

    def last(self) -> dict[str, dict[str, object]]:
        """Return what the host remembers of backups."""
        found: dict[str, dict[str, object]] = json.loads(self.sh("cat /var/lib/nous-vm/offsite/last.json"))
        return found

    def drill(self) -> tuple[bool, str]:
        """Have a restore tried; return whether it worked, and why not."""
        found = json.loads(self.sh("/usr/local/sbin/nous-vm backup drill --json || true"))
        return found["ok"], found["why"]

    def names(self, *addresses: str) -> None:
        """Have the API's name lead to these addresses. The file stays the same one: Docker mounts it."""
        self.put("/run/hosts", "".join(f"{each} {NAME}\n" for each in addresses))
        self.sh(f"grep -v {NAME} /etc/hosts > /run/others || true; cat /run/others /run/hosts > /etc/hosts")

    def inside(self, program: str, *arguments: str, unit: str = "nous.service", python: str = "/usr/bin/python3", environment: str = "") -> str:
        """Run a Python program in the network of a unit, as an account without rights; return what it printed."""
        pid = self.sh(f"systemctl show --value --property=MainPID {unit}")
        enter = f"nsenter --target={pid} --net setpriv --reuid=ops --regid=ops --clear-groups env {environment} {python} - {' '.join(arguments)}"
        return self.sh(enter, stdin=program)

    def packets(self) -> set[str]:
        """Return the kinds of packets that came to the world outside."""
        return set(self.sh(f"cat {OUTSIDE}/packets").splitlines())

    def log(self, since: str) -> list[str]:
        """Return what the proxy logged since a cursor of the journal."""
        return self.sh(f"journalctl --quiet --output=cat --after-cursor='{since}' _SYSTEMD_UNIT={PROXY}").splitlines()

    def cursor(self) -> str:
        return self.sh("journalctl --sync; journalctl --quiet --lines=1 --show-cursor --output=cat | sed -n 's/^-- cursor: //p'")
