# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/nous-vm/clients.json says of the server's clients, and where what is known of them lies."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import ForeignError, UsageError
from ..foreign import read_json
from ..names import CONFIGURATION, RUNTIME, STATE

PATH = CONFIGURATION / "clients.json"
RECORD = STATE / "clients.json"  # who was let in
PENDING = STATE / "enrolment.json"  # the enrolment that is open, and the clients from before it, to put back
WINDOW = RUNTIME / "enrolment.json"  # until when, and for whom; gone after a boot
OUTCOME = RUNTIME / "enrolment-outcome.json"
UNIT = "nous-vm-enrolment.service"
SOCKETS = Path("/run/nous-vm-enrolment")  # of the unit, with which systemd removes it, whatever ended it
AUTHORIZE = SOCKETS / "authorize.sock"
REGISTER = SOCKETS / "register.sock"
USER = "caddy"
ENROLMENT, OPERATOR, PUBLIC = "enrolment", "operator", "public"


class Configuration(NamedTuple):
    """The gateway and its server, as the role configured them.

    authorize: who may use /authorize without an enrolment: nobody (enrolment), the operator's networks (operator), everybody (public). upstream: where the
    server listens, as Caddy writes it. directory: where the server keeps clients.json and tokens.json.
    """

    hostname: str
    authorize: str
    upstream: str
    directory: Path
    redirect_uris: list[str]
    operator_cidrs: list[str]


def load() -> Configuration:
    """Return the configuration. Raises UsageError if it is not there or not complete."""
    try:
        known = read_json(PATH)
        texts = (str(known["hostname"]), str(known["authorize"]), str(known["upstream"]), Path(known["directory"]))
        return Configuration(*texts, list(known["redirect_uris"]), list(known["operator_cidrs"]))
    except (OSError, ForeignError, KeyError, TypeError) as error:
        raise UsageError(f"{PATH} cannot be used: {error!r}; apply the role caddy_gateway to this host") from None
