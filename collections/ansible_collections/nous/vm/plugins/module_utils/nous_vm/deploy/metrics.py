# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to count of the server, its local proxy and its releases."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator

from .. import pause
from ..metrics import Sample, of_restarts
from .proxy import FRONTEND, Proxy
from .service import service

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
BACKENDS = ("requests", "streams")
SOCKETS = {"with_token": "allowed", "tokenless": "public"}  # the names that the proxy's configuration gives them, and whose requests come by them


def metrics() -> Iterator[Sample]:
    """Yield the samples."""
    known = service()
    yield Sample("release_info", "The current release.", 1.0, {"release": known.releases.current() or "none"})
    yield Sample("releases", "Releases that are built.", float(len(known.releases.built())))
    yield Sample("releases_failed", "Releases that are marked as failed.", float(len(known.releases.failed())))
    yield from of_restarts((known.names.server, known.names.proxy))
    reasons = pause.reasons()
    yield Sample("traffic_pauses", "Reasons for which traffic does not flow.", float(len(reasons)))
    oldest = min((each.since for each in reasons), default=time.time())
    yield Sample("traffic_paused_seconds", "For how long traffic has not flowed.", round(max(time.time() - oldest, 0.0), 1))
    yield from of_proxy(known.proxy)


def of_proxy(proxy: Proxy) -> Iterator[Sample]:
    """Yield what the local proxy counts."""
    rows = list(csv.DictReader(proxy.command("show stat").removeprefix("# ").splitlines()))
    by_name = {(row["pxname"], row["svname"]): row for row in rows}
    front = by_name.get((FRONTEND, "FRONTEND"), {})
    for each in CLASSES:
        yield Sample("proxy_responses_total", "Responses of the local proxy by class of status.", number(front, f"hrsp_{each}"), {"class": each})
    for name, whose in SOCKETS.items():
        words = "Requests that the gateway let in: allowed, with a token from the allow list; public, all others."
        yield Sample("requests_total", words, number(by_name.get((FRONTEND, name), {}), "stot"), {"class": whose})
    yield Sample("proxy_connections", "Connections of the gateway that the local proxy has open.", number(front, "scur"))
    for name in BACKENDS:
        back, labels = by_name.get((name, "BACKEND"), {}), {"backend": name}
        yield Sample("proxy_queue", "Requests that wait for the server.", number(back, "qcur"), labels)
        yield Sample("proxy_requests", "Requests that the server is answering.", number(back, "scur"), labels)
        yield Sample("proxy_requests_total", "Requests that were given to the server.", number(back, "stot"), labels)
        yield Sample("proxy_latency_seconds", "Mean time of the last 1024 requests, from the first byte to the last.", number(back, "ttime") / 1000, labels)
        yield Sample("proxy_queue_seconds", "Mean time that the last 1024 requests waited for the server.", number(back, "qtime") / 1000, labels)


def number(row: dict[str, str], name: str) -> float:
    """Return a number that the proxy may not have."""
    text = row.get(name) or "0"
    return float(text) if text.isdecimal() else 0.0
