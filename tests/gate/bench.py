#!/usr/bin/env python3
"""Measure the gateway against its server directly, and against plain nginx with allow/deny and the same certificate, in one run on one host.

The server is nginx with a fixed answer; wrk, on the same host, asks for SECONDS each, with a token. The last two rows have the local proxy between gateway
and server, as the site has it, the very last beside attack.py from one denied address. Prints a table: requests/s, p50 and p99 in ms.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))
sys.path.insert(0, str(Path(__file__).parent))

import conftest
from attack import attacked
from forms import PLATFORMS
from wire import HOST, STRANGER

NGINX = f"""
worker_processes auto;
events {{}}
http {{
    access_log off;
    server {{ listen 127.0.0.1:8088; location / {{ return 200 "seen\\n"; }} }}
    server {{
        listen 8443 ssl;
        server_name {HOST};
        ssl_certificate /etc/caddy/gateway.pem;
        ssl_certificate_key /etc/caddy/gateway.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        allow 127.0.0.1;
        deny all;
        location / {{ proxy_pass http://127.0.0.1:8088; proxy_set_header X-Forwarded-For $remote_addr; }}
    }}
}}
"""
CERTIFICATE = (
    f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj / -addext subjectAltName=DNS:{HOST}"
    " -keyout /etc/caddy/gateway.key -out /etc/caddy/gateway.pem 2> /dev/null && chgrp caddy /etc/caddy/gateway.key && chmod 0640 /etc/caddy/gateway.key"
)
GATEWAY = f"https://{HOST}/"
WAYS = {"the server directly": "http://127.0.0.1:8088/", "nginx, allow/deny": f"https://{HOST}:8443/", "the gateway": GATEWAY}
WIDTH = 36


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def measure(host: conftest.Host, url: str, seconds: int, connections: int) -> str:
    output = host.sh(f"wrk --threads 1 --connections {connections} --duration {seconds}s --latency --header 'Authorization: Bearer x' {url}")
    assert "Non-2xx" not in output, output
    rate, half, worst = (re.search(rf"{key}\s+([\d.]+\w*)", output).group(1) for key in ("Requests/sec:", "50%", "99%"))  # type: ignore[union-attr]
    return f"{float(rate):10.0f} {milliseconds(half):8.2f} {milliseconds(worst):8.2f}"


def play(host: conftest.Host, **variables: object) -> None:
    run = host.play(
        caddy_gateway_tls="files",
        caddy_gateway_tls_certificate="/etc/caddy/gateway.pem",
        caddy_gateway_tls_key="/etc/caddy/gateway.key",
        caddy_gateway_operator_cidrs=["127.0.0.1/32"],
        caddy_gateway_connection_limits=True,
        **variables,
    )
    assert run.returncode == 0, run.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    for platform in PLATFORMS:
        host = conftest.Host(platform)
        try:
            host.backend.stop()
            host.sh(f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx wrk > /dev/null; {CERTIFICATE}")
            host.sh(f"echo 127.0.0.1 {HOST} >> /etc/hosts; systemctl --quiet disable --now nginx; cat > /etc/nginx/nginx.conf << 'END'\n{NGINX}\nEND\nnginx")
            play(host, caddy_gateway_upstream="127.0.0.1:8088", caddy_gateway_upstream_tokenless="")
            load, processors = os.getloadavg()[0], os.cpu_count()
            print(f"{platform}, Caddy {host.sh('caddy version').split()[0]}, {arguments.connections} connections, load before {load:.1f} on {processors} CPUs")
            print(f"{'':{WIDTH}}{'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
            for name, url in WAYS.items():
                print(f"{name:{WIDTH}}{measure(host, url, arguments.seconds, arguments.connections)}", flush=True)
            host.with_proxy()
            play(host)
            print(f"{'the gateway, the local proxy':{WIDTH}}{measure(host, GATEWAY, arguments.seconds, arguments.connections)}", flush=True)
            with attacked(host, [STRANGER]) as became:
                beside = measure(host, GATEWAY, arguments.seconds, arguments.connections)
            print(f"{'the same, beside an attack':{WIDTH}}{beside}\n{became}", flush=True)
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", host.container], check=True, capture_output=True)


if __name__ == "__main__":
    main()
