# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic through the local proxy: it flows when nobody has a reason for a pause. Each owner adds and clears a reason of its own."""

from __future__ import annotations

from collections.abc import Sequence

from .. import pause
from .proxy import Proxy

DEPLOYMENT = "deployment"  # the server is being replaced
STOP = "stop"  # of the server's unit, from before requests under way are waited for until it is gone
OPERATOR = "operator"  # a person asked for it


def expected(reasons: Sequence[pause.Reason]) -> str:
    """Return what happens to requests for these reasons, as Proxy.traffic() says it."""
    if not reasons:
        return "flows"
    return "rejected" if any(each.reject for each in reasons) else "paused"


def left_paused(proxy: Proxy) -> bool:
    """Tell whether traffic does not flow for no other reason than a deployment or a stop; a proxy that is not there pauses nothing."""
    others = [each for each in pause.reasons() if each.owner not in (DEPLOYMENT, STOP)]
    try:
        return proxy.traffic() != expected(others)
    except OSError:
        return False


def apply(proxy: Proxy) -> list[pause.Reason]:
    """Have the proxy do what the reasons ask for, and return them. Another may change them meanwhile: whoever comes last sees it."""
    found = pause.reasons()
    while True:
        proxy.apply(found)
        now = pause.reasons()
        if now == found:
            return found
        found = now


def hold(proxy: Proxy, owner: str, why: str, seconds: float = 0) -> None:
    """Let requests wait for a reason, for so many seconds at most unless they are 0."""
    pause.add(owner, why, seconds=seconds)
    apply(proxy)


def release(proxy: Proxy, owner: str) -> None:
    """Clear the reason of an owner."""
    pause.clear(owner)
    apply(proxy)
