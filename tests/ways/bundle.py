"""A host that runs nous as nous's own bundle has it: a stand-in of its steps, with the stand-in of the server.

A checkout in /opt/nous with a virtual environment in it, units that are files, an updater that takes what was pushed, a rule of logrotate, an edited Caddyfile,
an append-only log that belongs to the server.
"""

from __future__ import annotations

from typing import Any

HOST = "nous.example.org"
UNITS = {
    "nous.service": """[Unit]
Description=The server of the bundle
[Service]
User=nous
Group=nous
EnvironmentFile=/etc/nous/nous.env
WorkingDirectory=/opt/nous
ExecStart=/opt/nous/venv/bin/python -m nous serve
Restart=on-failure
[Install]
WantedBy=multi-user.target
""",
    "nous-state-flush.service": """[Service]
Type=oneshot
User=nous
EnvironmentFile=/etc/nous/nous.env
WorkingDirectory=/opt/nous
ExecStart=/opt/nous/venv/bin/python -m nous flush
""",
    "nous-state-flush.timer": "[Timer]\nOnCalendar=daily\nUnit=nous-state-flush.service\n[Install]\nWantedBy=timers.target\n",
    "nous-auto-update.service": "[Service]\nType=oneshot\nExecStart=/opt/nous/deploy/auto-update.sh\n",
    "nous-auto-update.timer": "[Timer]\nOnBootSec=1h\nOnUnitActiveSec=1h\nUnit=nous-auto-update.service\n[Install]\nWantedBy=timers.target\n",
}
INSTALL = """#!/bin/sh
# What is pushed is installed by its own checkout.
set -eu
cd "$(dirname "$0")/.."
[ -d /opt/nous/venv ] || python3 -m venv /opt/nous/venv
/opt/nous/venv/bin/pip install --quiet --editable .
install -m 0644 deploy/systemd/* /etc/systemd/system/
install -m 0644 deploy/logrotate.conf /etc/logrotate.d/nous
install -d -m 0750 -o nous -g nous /var/lib/nous/auth /var/log/nous
for file in audit.jsonl audit-anchors.jsonl; do
  [ -e /var/log/nous/$file ] || install -m 0640 -o nous -g nous /dev/null /var/log/nous/$file
  chattr +a /var/log/nous/$file
done
"""
UPDATE = """#!/bin/sh
set -eu
cd /opt/nous
git fetch --quiet origin main
[ "$(git rev-parse HEAD)" != "$(git rev-parse origin/main)" ] || exit 0
git reset --quiet --hard origin/main
deploy/install.sh
systemctl daemon-reload
systemctl restart nous.service
date >> /var/log/nous/auto-update.last_ok
"""
RULE = "/var/log/nous/audit.jsonl {\n  daily\n  rotate 90\n  compress\n  delaycompress\n  nocreate\n}\n"
SETTINGS = f"""NOUS_HOME=/var/lib/nous
NOUS_TRANSPORT=http
NOUS_HTTP_BIND=127.0.0.1:8088
NOUS_POLICY=open
NOUS_OAUTH_ENABLED=true
NOUS_OAUTH_ISSUER=https://{HOST}
NOUS_AUDIT_PATH=/var/log/nous/audit.jsonl
"""
CADDYFILE = f"{HOST} {{\n  tls internal\n  reverse_proxy 127.0.0.1:8088\n}}\n"
FILES = {
    **{f"systemd/{name}": content for name, content in UNITS.items()},
    "install.sh": INSTALL,
    "auto-update.sh": UPDATE,
    "logrotate.conf": RULE,
}
COMMIT = "git -c user.name=test -c user.email=test@nous.invalid commit --quiet --all"
START = "systemctl daemon-reload; systemctl enable --quiet --now nous.service nous-state-flush.timer nous-auto-update.timer; systemctl restart caddy.service"
# An operator's own: a drop-in, and an archive that the rule made on another day.
EDITED = "mkdir -p /etc/systemd/system/nous.service.d; printf '[Service]\\nNice=5\\n' > /etc/systemd/system/nous.service.d/mine.conf"


def install(host: Any) -> None:
    """Install the bundle on a host with the packages, and start it."""
    host.sh("useradd --system --home-dir /var/lib/nous --create-home --shell /usr/sbin/nologin nous; install -d -m 0750 -o nous -g nous /etc/nous")
    host.sh("mkdir -p /srv/origin; cd /srv/origin; git init --quiet --initial-branch=main; git config receive.denyCurrentBranch ignore")
    host.send(host.pack("0.9.0"), "/srv/release.tar.gz")
    host.sh("tar --extract --gzip --strip-components=1 --directory=/srv/origin --file=/srv/release.tar.gz")
    for name, content in FILES.items():
        host.put(f"/srv/origin/deploy/{name}", content)
    host.sh(f"cd /srv/origin; chmod +x deploy/*.sh; git add --all; {COMMIT} --message=first; git clone --quiet /srv/origin /opt/nous")
    host.put("/etc/nous/nous.env", SETTINGS)
    host.put("/etc/caddy/Caddyfile", CADDYFILE)
    host.sh(f"/opt/nous/deploy/install.sh; {EDITED}; {START}")


def push(host: Any) -> None:
    """Push a commit, which the updater would take."""
    host.sh(f"cd /srv/origin; echo more >> README.md; git add --all; {COMMIT} --message=more")


def archive(host: Any) -> None:
    """Have an archive of another day, from before the flag, with all of the log but its last line."""
    log = "/var/log/nous/audit.jsonl"
    host.sh(f"systemctl stop nous.service; chattr -a {log}; head -n -1 {log} > {log}.1; chown nous:nous {log}.1; chmod 0640 {log}.1")
    host.sh(f"tail -n 1 {log} > /run/last; cat /run/last > {log}; chattr +a {log}; systemctl start nous.service")
