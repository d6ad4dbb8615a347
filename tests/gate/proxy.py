"""The real local proxy in the chain: what the role nous_service has of it, with another unit around it, because the server of these tests is no unit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import yaml

ROLE = Path(__file__).resolve().parents[2] / "collections/ansible_collections/nous/vm/roles/nous_service"
SOCKET, TOKENLESS = "/run/nous-proxy/mcp.sock", "/run/nous-proxy/tokenless.sock"
VALUES = {
    "nous_service_socket": SOCKET,
    "nous_service_tokenless_socket": TOKENLESS,
    "nous_service_socket_group": "caddy",
    "nous_service_bind": "127.0.0.1:8088",
}
UNITS = "nous-proxy.socket nous-proxy.service"
SERVICE = """[Unit]
Requires=nous-proxy.socket
After=nous-proxy.socket
StartLimitIntervalSec=0
[Service]
# Of the role's sandbox what decides whether a configuration can be loaded at all.
MemoryDenyWriteExecute=yes
ExecStart=/usr/sbin/haproxy -db -f /etc/nous-vm/proxy.d
KillSignal=SIGUSR1
TimeoutStopSec=5s
[Install]
WantedBy=multi-user.target
"""


def rendered(name: str, **limits: int) -> str:
    """Return a template of the role with the role's own limits in it, or others."""
    known: dict[str, Any] = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8")) | limits
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True)  # noqa: S701 (it makes no HTML)
    return environment.from_string((ROLE / "templates" / name).read_text(encoding="utf-8")).render(known | {"__nous_service_values": SimpleNamespace(**VALUES)})


def files(**limits: int) -> dict[str, str]:
    """Return what a host needs for the local proxy, by path."""
    folder = "/etc/nous-vm/proxy.d"
    return {
        f"{folder}/10-global.cfg": rendered("proxy-global.cfg.j2").replace("/run/nous-proxy-admin", "/run"),
        f"{folder}/50-nous.cfg": rendered("proxy-nous.cfg.j2", **limits),
        f"{folder}/headers.lua": rendered("proxy-headers.lua.j2"),
        f"{folder}/reject.map": "",
        "/etc/systemd/system/nous-proxy.socket": rendered("nous-proxy.socket.j2"),
        "/etc/systemd/system/nous-proxy.service": SERVICE,
    }
