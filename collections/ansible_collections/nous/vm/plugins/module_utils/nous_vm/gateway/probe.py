# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway answers: the readiness probe from the host and from the controller, and its certificate."""

from __future__ import annotations

import errno
import ipaddress
import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .. import peers
from ..errors import ForeignError
from ..foreign import printable
from ..health import Row
from ..network import listed
from . import admin, configuration

LOCAL = "127.0.0.1"
PORT = 443
TIMEOUT = 5.0  # seconds for one answer
HEADERS = {"Accept": "application/json, text/event-stream"}
UNANSWERED, UNREACHABLE = (TimeoutError, ConnectionRefusedError), (errno.EHOSTUNREACH, errno.ENETUNREACH)
SILENT = "not answered"  # somebody is in the way, which tasks/probe.yml of the role asks the host about
FROM_CONTROLLER = "gateway from the controller"


class Answer(NamedTuple):
    """What the gateway answered: the status, why it denied (empty if it did not), and our own address as this end sees it."""

    status: int
    denied: str
    source: str


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _tls(address: str, hostname: str, context: ssl.SSLContext) -> Callable[[float], ssl.SSLSocket]:
    """Return a function that connects to an address and shakes hands for a host name."""
    return peers.tls(peers.tcp(address, PORT), hostname, context)


def ask(address: str, hostname: str, path: str) -> Answer:
    """Send one request; whether the certificate is any good is another question. Raises OSError, ForeignError."""
    sources: list[str] = []
    secure = _tls(address, hostname, _any_certificate())

    def connect(timeout: float) -> ssl.SSLSocket:
        made = secure(timeout)
        sources.append(made.getsockname()[0])
        return made

    answer = peers.ask(connect, "GET", path, headers=HEADERS | {"Host": hostname}, timeout=TIMEOUT, head_only=True)
    return Answer(answer.status, printable(answer.headers.get("x-gateway-denied", "")), sources[0])


def not_ready(parameters: configuration.Parameters, desired: dict[str, Any]) -> str:
    """Return what is wrong with the gateway as this host sees it; nothing if Caddy serves what is desired and denies who is not on the allow list."""
    try:
        if admin.served(admin.socket_of(desired)) != desired:
            return f"Caddy does not serve what {configuration.CADDYFILE} says"
        answer = ask(LOCAL, parameters.hostname, "/")
    except (OSError, ForeignError) as error:
        return f"the gateway does not answer: {printable(str(error))}"
    if not listed(answer.source, parameters.cidrs) and answer.denied != "address":
        return f"the gateway answers {answer.status} to {answer.source}, which is not on the allow list"
    return ""


def from_controller(hostname: str, cidrs: list[str], addresses: Iterable[str]) -> Row:
    """Return the row on the gateway as it is seen from here.

    cidrs: the allow list. addresses: names or addresses of the gateway; the first that answers counts.
    """
    failures, silent = [], False
    for address in dict.fromkeys(addresses):
        try:
            answer = ask(address, hostname, "/")
        except (OSError, ValueError, ForeignError) as error:
            failures.append(f"{printable(address)}: {printable(str(error))}")
            silent = silent or isinstance(error, UNANSWERED) or (isinstance(error, OSError) and error.errno in UNREACHABLE)
            continue
        return Row(FROM_CONTROLLER, *_judged(answer, listed(answer.source, cidrs), address))
    return Row(FROM_CONTROLLER, "unknown", f"{SILENT if silent else 'not probed'}: {'; '.join(failures)}")


def _judged(answer: Answer, expected: bool, address: str) -> tuple[str, str]:
    """Return status and detail of an answer. expected: whether we are on the allow list."""
    detail = f"{answer.status} for {answer.source}, which is {'' if expected else 'not '}on the allow list, at {address}"
    if expected:
        return "ok" if answer.status < 500 and not answer.denied else "fail", detail
    if answer.denied == "address":
        return "ok", detail
    if ipaddress.ip_address(answer.source).is_private:
        return "unknown", f"{detail}; the address that the gateway sees may be another one"
    return "fail", detail


class Certificate(NamedTuple):
    """How long a certificate is good for: seconds since the epoch, and its end as OpenSSL writes it."""

    begin: float
    end: float
    until: str


def certificate(hostname: str) -> Certificate:
    """Return the certificate that the gateway presents; whether clients trust it is theirs to say. Raises OSError."""
    with _tls(LOCAL, hostname, _any_certificate())(TIMEOUT) as connection:
        der = connection.getpeercert(binary_form=True)
    if not der:
        raise ConnectionError("no certificate is presented")
    # Taken as its own authority, so that OpenSSL itself reads it and judges its name and dates.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=der)
    with _tls(LOCAL, hostname, context)(TIMEOUT) as connection:
        found = connection.getpeercert() or {}
    begin, end = (str(found[key]) for key in ("notBefore", "notAfter"))
    return Certificate(ssl.cert_time_to_seconds(begin), ssl.cert_time_to_seconds(end), printable(end))
