# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action validate says what it takes and returns."""

from __future__ import annotations

import yaml
from ansible_collections.nous.vm.plugins.action import validate as action
from ansible_collections.nous.vm.plugins.modules import validate


def test_it_takes_what_it_documents() -> None:
    documented = yaml.safe_load(validate.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in about.items() if key != "description"} for name, about in documented.items()} == action.OPTIONS


def test_it_returns_what_it_documents() -> None:
    documented = yaml.safe_load(validate.RETURN)
    assert set(documented) == {"values", "derived", "host", "lacking", "missing_packages", "inventory_hostname", "identity"}
