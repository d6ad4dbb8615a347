"""When a first boot reached what, from power on to the first answer: as a table, and as a picture."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

WIDTH, ROW, LEFT = 720, 24, 260
# What the journal of the first boot says when a part begins; the last part ends when the host is ready.
PARTS = [
    ("Ansible in an environment of its own", r"== (package lists|packages|environment for Ansible)"),
    ("the collection", r"== collection "),
    ("preflight", r"== nous.vm.site"),
    ("packages of the distribution", r"TASK \[Install the packages of all roles"),
    ("uv, signing key, audit log", r"TASK \[nous.vm.python_runtime : Make a virtual environment"),
    ("the server's release", r"TASK \[nous.vm.nous_service : Install the command that builds"),
    ("the server's units, its first start", r"TASK \[nous.vm.nous_service : Write configuration, units"),
    ("the gateway", r"TASK \[nous.vm.caddy_gateway : Write configuration"),
    ("the check of all", r"TASK \[Install what checks at every boot"),
]


class Part(NamedTuple):
    name: str
    begin: float
    end: float


def parts(journal: str, kernel: float, network: float, ready: float, answered: float) -> list[Part]:
    """Return the parts of a boot in seconds since power on. JOURNAL is one JSON object a line, KERNEL when its clock began to run."""
    lines = [(int(line["__MONOTONIC_TIMESTAMP"]) / 1e6 + kernel, str(line["MESSAGE"])) for line in map(json.loads, journal.splitlines())]
    begins = [("firmware, kernel", 0.0), ("systemd, cloud-init, network", kernel), ("cloud-init", network + kernel)]
    for name, pattern in PARTS:
        since = begins[-1][1]
        begins.append((name, next(at for at, printed in lines if at >= since and re.match(pattern, printed))))
    begins.append(("first answer to a client outside", ready + kernel))
    ends = [*(at for _name, at in begins[1:]), answered]
    return [Part(name, begin, end) for (name, begin), end in zip(begins, ends, strict=True)]


def table(found: list[Part]) -> str:
    rows = [f"{part.begin:7.1f}  {part.end - part.begin:7.1f}  {part.name}" for part in found]
    return "\n".join(["  since    takes  (seconds)", *rows, f"{found[-1].end:7.1f}           in all"])


def picture(found: list[Part]) -> str:
    height, scale = ROW * len(found) + 30, (WIDTH - LEFT - 60) / found[-1].end
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        "<title>From power on to the first answer of nous on a new VM</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, part in enumerate(found):
        left, width, top = LEFT + part.begin * scale, max(1.0, (part.end - part.begin) * scale), ROW * number + 8
        out += [
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{part.name}</text>',
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 6}" fill="#1b6e3c"/>',
            f'<text x="{left + width + 4:.1f}" y="{top + 13}">{part.end - part.begin:.0f} s</text>',
        ]
    out.append(f'<text x="{LEFT}" y="{height - 6}">power on</text><text x="{WIDTH - 60}" y="{height - 6}" text-anchor="end">{found[-1].end:.0f} s</text></svg>')
    return "\n".join(out) + "\n"
