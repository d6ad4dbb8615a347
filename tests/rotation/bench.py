#!/usr/bin/env python3
"""How long a writer waits while its log is rotated, by size, archives and method, side by side in one run, and what the guard takes of a core.

bench.py [--sizes 1,100,1000] [--archives 0,90] [--seconds 60] [--picture FILE] prints Markdown: the longest wait of a writer that goes as fast as it can, and
what was lost; and the guard's CPU at rest and while 200 records a second come. FILE is drawn for the middle size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "hosts"))
sys.path.insert(0, str(HERE))
from conftest import LOG, NAME, ROTATE, TOOLS, WRITER, Host, play, service  # noqa: E402
from forms import PLATFORMS  # noqa: E402

METHODS = ["copytruncate", "freeze, copy the whole, truncate", "nous-vm audit rotate"]
OURS, WHOLE = METHODS[2], METHODS[1]
COLOURS = ["#b3261e", "#8a6d00", "#1b6e3c"]
WIDTH, HEIGHT, LEFT, SPAN = 720, 110, 60, (-0.25, 1.0)


def bars(series: dict[str, float], top: float) -> str:
    """Return one line of the picture's path for every moment in which somebody waited noticeably."""
    scale = (WIDTH - LEFT - 10) / (SPAN[1] - SPAN[0])
    found = []
    for at, worst in sorted((float(at), worst) for at, worst in series.items()):
        if SPAN[0] <= at < SPAN[1]:
            found.append(f"M{LEFT + (at - SPAN[0]) * scale:.1f} {HEIGHT - 20}v-{max(0.5, min(worst / top, 1) * (HEIGHT - 40)):.1f}")
    return "".join(found)


def picture(results: dict[str, dict[str, Any]], megabytes: int) -> str:
    """Draw the writer's wait over time, one strip a method, all on one scale."""
    top = max(result["pause"] for result in results.values())
    zero = LEFT - SPAN[0] * (WIDTH - LEFT - 10) / (SPAN[1] - SPAN[0])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * 3 + 24}" font-family="sans-serif" font-size="12">',
        "<title>How long a writer waits for one line while its log is rotated</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT * 3 + 24}" fill="#fff"/>',
    ]
    for number, (name, colour) in enumerate(zip(METHODS, COLOURS, strict=True)):
        result = results[name]
        title = f"{name}: longest wait {result['pause']:.0f} ms, {result['lost']} of {result['written']} lines lost"
        out += [
            f'<g transform="translate(0 {number * HEIGHT})"><text x="{LEFT}" y="14">{title}</text>',
            f'<text x="{LEFT - 6}" y="28" text-anchor="end">{top:.0f} ms</text>',
            f'<path d="M{LEFT} 20v{HEIGHT - 40}H{WIDTH - 10}M{zero:.1f} 20v{HEIGHT - 40}" fill="none" stroke="#bbb"/>',
            f'<path d="{bars(result["series"], top)}" stroke="{colour}" stroke-width="2"/></g>',
        ]
    out.append(f'<text x="{zero:.0f}" y="{HEIGHT * 3 + 8}" text-anchor="middle">rotation of {megabytes} MB begins</text>')
    out.append(f'<text x="{WIDTH - 10}" y="{HEIGHT * 3 + 8}" text-anchor="end">{SPAN[1]:.0f} s later</text></svg>')
    return "\n".join(out) + "\n"


def guard(seconds: float) -> None:
    """Print what the guard takes of a core, on a host of its own."""
    host = Host(PLATFORMS[0], "rotation-guard")
    try:
        host.start()
        done = play(host, None, audit_logrotate_guard="warn", audit_logrotate_reserve=4, audit_logrotate_units=[])
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        for tool in (HERE / "bench_guard.py", HERE.parent / "standin/chain.py"):
            host.put(f"{TOOLS}/{tool.name}", tool.read_text(encoding="utf-8"))
        found = json.loads(host.python("bench_guard.py", NAME, str(seconds)))
        rate, thousand = found["lines"] / seconds, found["a thousand"] * 1000
        print(f"The guard and its watcher take {found['idle']:.2%} of a core at rest, {found['busy']:.2%} while {rate:.0f} records a second come:")
        print(f"{thousand:.0f} ms a thousand records.\n")
    finally:
        subprocess.run(["docker", "rm", "--force", host.container], check=False, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,100,1000", help="megabytes, comma-separated")
    parser.add_argument("--archives", default="0,90", help="how many there are, comma-separated")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement of the guard; 0 for none")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    cases = [(size, int(count)) for count in given.archives.split(",") for size in sizes]
    host = Host(PLATFORMS[0])
    results: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}
    if given.seconds:
        guard(given.seconds)
    try:
        host.start()
        host.sh("apt-get -qq update && apt-get -qq install --yes logrotate > /dev/null")  # what it is compared with
        # As cloud images mount theirs; freeing the blocks of a cut log without a journal can take longer than copying them.
        host.mount(megabytes=3 * max(sizes) + 500, options="loop,discard")
        done = play(host)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        host.put(f"{TOOLS}/bench_host.py", (HERE / "bench_host.py").read_text(encoding="utf-8"))
        host.put(
            f"/etc/systemd/system/{WRITER}",
            service(LOG).replace(f"writer.py {LOG} 1000", f"bench_host.py write {LOG}\nStandardOutput=truncate:/run/{NAME}/latency.json"),
        )
        host.put(f"/etc/systemd/system/{ROTATE}.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n")
        host.run("systemctl", "daemon-reload")
        for size, count in cases:
            results[size, count] = {method: json.loads(host.python("bench_host.py", method, str(size), str(count))) for method in METHODS}
    finally:
        subprocess.run(["docker", "rm", "--force", host.container], check=False, capture_output=True)
    print(f"{PLATFORMS[0]}, a writer as fast as it goes; longest wait for one line (lines lost of lines written)\n")
    print("| method | " + " | ".join(f"{size} MB, {count} archives" for size, count in cases) + " |")
    print("|---" * (len(cases) + 1) + "|")
    for method in METHODS:
        cells = [f"{one['pause']:.0f} ms ({one['lost']} of {one['written']})" for one in (results[case][method] for case in cases)]
        print(f"| {method} | " + " | ".join(cells) + " |")
    if given.picture:
        middle = sizes[len(sizes) // 2]
        given.picture.write_text(picture(results[middle, cases[0][1]], middle), encoding="utf-8")
    largest = results[cases[-1]]
    lost = sum(result[OURS]["lost"] for result in results.values())
    share = largest[OURS]["pause"] / largest[WHOLE]["pause"]
    print(f"\nAt {sizes[-1]} MB the wait is {share:.0%} of that of freezing for the whole copy; lost by nous-vm audit rotate: {lost}.")
    return 1 if lost or (sizes[-1] >= 1000 and share > 0.1) else 0


if __name__ == "__main__":
    sys.exit(main())
