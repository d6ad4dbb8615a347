#!/bin/bash
# What a deployer writes without this collection, to measure it against: install.sh ARCHIVE REQUIREMENTS puts the server on this host with
# pip and a plain unit, as the server's own bundle does, and ends when it answers. Run it again to upgrade.
set -euo pipefail
archive=$1 requirements=$2 root=/opt/nous home=/var/lib/nous

id nous > /dev/null 2>&1 || useradd --system --home-dir "$home" --shell /usr/sbin/nologin nous
install --directory --owner=nous --group=nous --mode=0750 "$home" /var/log/nous
install --directory "$root/source" /etc/nous
tar --extract --file="$archive" --directory="$root/source" --strip-components=1 --no-same-owner
[ -e "$root/venv/bin/pip" ] || python3 -m venv "$root/venv"
"$root/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements"
"$root/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable "$root/source"

cat > /etc/nous/nous.env << END
NOUS_HOME=$home
NOUS_TRANSPORT=http
NOUS_HTTP_BIND=127.0.0.1:8088
NOUS_OAUTH_ENABLED=true
NOUS_OAUTH_ISSUER=https://nous.example.org
NOUS_AUDIT_PATH=/var/log/nous/audit.jsonl
END
cat > /etc/systemd/system/nous.service << END
[Unit]
Description=nous MCP server
After=network.target
[Service]
User=nous
EnvironmentFile=/etc/nous/nous.env
WorkingDirectory=$root/source
ExecStart=$root/venv/bin/python -m nous serve
Restart=on-failure
RestartSec=5s
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --quiet nous.service
systemctl restart nous.service
for _ in {1..600}; do
  if (: < /dev/tcp/127.0.0.1/8088) 2> /dev/null; then exit 0; fi
  sleep 0.1
done
systemctl status --no-pager nous.service >&2
exit 1
