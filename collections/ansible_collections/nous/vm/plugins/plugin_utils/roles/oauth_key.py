# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role oauth_key."""

from __future__ import annotations

from collections.abc import Iterator

from ..kinds import absolute_path, choice, integer, owner, packages
from ..role import Host, Questions, Role, Values
from ..rules import Fault, Flag, Number

CENTURY = 36525  # days
DAYS = "a number of days"

OPTIONS = {
    "oauth_key_path": absolute_path("/etc/nous/keys/signing.pem", names=2),
    "oauth_key_owner": owner(),
    "oauth_key_group": owner(),
    "oauth_key_mode": choice("0600", "0400", "0440", "0640"),
    "oauth_key_algorithm": choice("EdDSA", "ES256", "RS256"),
    "oauth_key_size": Number(choices=(2048, 3072, 4096), allowed="one of 2048, 3072, 4096", example="3072"),
    "oauth_key_jwks_path": absolute_path("/etc/nous/jwks.json", names=2),
    "oauth_key_jwks_owner": owner(),
    "oauth_key_jwks_group": owner(),
    "oauth_key_jwks_mode": choice("0640", "0400", "0440", "0444", "0600", "0644"),
    "oauth_key_overlap_days": integer(0, CENTURY, 31, DAYS),
    "oauth_key_minimum_interval_days": integer(0, CENTURY, 7, DAYS),
    "oauth_key_rotate_after_days": integer(1, CENTURY, 365, DAYS),
    "oauth_key_packages": packages("python3-cryptography"),
    "oauth_key_manage_packages": Flag(),
}

# What the role's task gives to nous.vm.oauth_key.
OF_MODULE = "path owner group mode algorithm size jwks_path jwks_owner jwks_group jwks_mode overlap_days minimum_interval_days rotate_after_days"


def one_file_each(values: Values) -> Iterator[Fault]:
    key, jwks = values["oauth_key_path"], values["oauth_key_jwks_path"]
    if jwks in (key, f"{key}.next"):
        yield Fault("oauth_key_jwks_path", f"is {jwks}, and oauth_key_path is {key}", "the path of another file", "/etc/nous/jwks.json")


def questions(values: Values) -> Questions:
    return {
        "matches": [values["oauth_key_path"], values["oauth_key_jwks_path"]],
        "keys": [{option: values[f"oauth_key_{option}"] for option in OF_MODULE.split()} | {"rotation": "keep"}],
    }


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    for path in (values["oauth_key_path"], values["oauth_key_jwks_path"]):
        if not host["matches"][path]:
            yield Fault(path, "is absent", "")


ROLE = Role("oauth_key", OPTIONS, together=(one_file_each,), questions=questions, lacks=lacks)
