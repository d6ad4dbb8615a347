# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to count of the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..metrics import Sample, of_restarts
from . import allowed, configuration, counted, probe

HOUR = 3600


def metrics() -> Iterator[Sample]:
    """Yield the samples."""
    found = counted.denied_since(time.time() - HOUR)
    times = sum(count for count, _last in found.addresses.values())
    yield Sample("gateway_denied_requests", "Requests of the last hour that were denied.", float(times))
    yield Sample("gateway_denied_addresses", "Addresses that were denied in the last hour.", float(len(found.addresses)))
    yield Sample("gateway_allowed_for_a_time", "Addresses that are allowed for a time.", float(len(allowed.current())))
    yield from of_restarts([configuration.UNIT])
    left = probe.certificate(configuration.parameters().hostname).end - time.time()
    yield Sample("gateway_certificate_seconds", "For how long the certificate is good.", round(left))
