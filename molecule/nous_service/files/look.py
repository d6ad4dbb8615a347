"""Print, as one JSON object, what the nous service of this host is: its release, its answer, its environment, its limits."""

import http.client
import json
import os
import pwd
import socket
import subprocess
from pathlib import Path


def show(name: str) -> str:
    return subprocess.run(["systemctl", "show", "--value", f"--property={name}", "nous.service"], capture_output=True, text=True, check=True).stdout.strip()


def answer(host: str) -> int:
    connection = http.client.HTTPConnection("proxy", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/nous-proxy/mcp.sock")
    connection.request("POST", "/", headers={"Host": host, "Content-Type": "application/json"})
    return connection.getresponse().status


def listening(*inside: str) -> str:
    return subprocess.run([*inside, "ss", "--listening", "--tcp", "--numeric", "--no-header"], capture_output=True, text=True, check=True).stdout


pid = show("MainPID")
current = Path("/opt/nous/current")
modules = list((current / "source/src").rglob("*.py"))
site = next((current / "venv/lib").glob("python3*/site-packages"))
environment = dict(item.split("=", 1) for item in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in item)
credentials = Path(f"/proc/{pid}/root{environment['CREDENTIALS_DIRECTORY']}")
readable = subprocess.run(["setpriv", "--reuid=nous", "--regid=nous", "--clear-groups", "cat", "/etc/nous/secrets.env"], capture_output=True, check=False)
print(
    json.dumps(
        {
            "active": show("ActiveState"),
            "invocation": show("InvocationID"),
            "restarts": int(show("NRestarts")),
            "answers": answer("nous.example.org"),
            "denies_other_hosts": answer("elsewhere.example.org"),
            "release": current.readlink().name,
            "releases": sorted(path.name for path in current.parent.joinpath("releases").iterdir()),
            "version": subprocess.run(
                [current / "venv/bin/python", "-m", "nous", "--version"], cwd=current, capture_output=True, text=True, check=True
            ).stdout.strip(),
            "compiled": all(list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")) for path in modules) and bool(modules),
            "mcp": next(path.name for path in site.glob("mcp-*.dist-info")),
            "account": pwd.getpwnam("nous")[5:],
            "user": Path(f"/proc/{pid}").owner(),
            "environment": {name: value for name, value in environment.items() if name.startswith("NOUS_")},
            "credentials": sorted(os.listdir(credentials)),
            "modes": {str(path): f"{path.stat().st_mode & 0o7777:04o} {path.owner()}:{path.group()}" for path in Path("/etc/nous").iterdir()},
            "secrets_readable_by_the_server": readable.returncode == 0,
            "listening": listening("nsenter", f"--net=/proc/{pid}/ns/net"),
            "listening_on_the_host": listening(),
            "timer": subprocess.run(["systemctl", "is-active", "nous-state-flush.timer"], capture_output=True, text=True, check=False).stdout.strip(),
        }
    )
)
