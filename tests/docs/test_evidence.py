# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each promise in the documentation names a test that is there; one without is found."""

from __future__ import annotations

import evidence
import pytest
from evidence import Promise


def test_all_promises_are_shown_by_tests_that_are_there() -> None:
    found = list(evidence.promises())
    assert {"README.md", "docs/security.md"} <= {each.page for each in found}
    assert len(found) > 80
    assert list(evidence.faults(found)) == []


@pytest.mark.parametrize(
    ("shown", "fault"),
    [
        ("", "names no test"),
        ("looked at by hand", "names no test"),
        ("`test_that_nobody_wrote`", "there is no test_that_nobody_wrote"),
        ("`tests/nowhere/test_x.py`", "there is no tests/nowhere/test_x.py"),
        ("`test_evidence.py::test_gone`", "there is no test_evidence.py::test_gone"),
        ("`tests/docs/test_evidence.py::test_gone`", "there is no tests/docs/test_evidence.py::test_gone"),
        ("tests/nowhere", "there is no tests/nowhere"),
        ("`test_all_promises_are_shown_by_tests_that_are_there`, `test_gone`", "there is no test_gone"),
    ],
)
def test_what_is_not_shown_is_found(shown: str, fault: str) -> None:
    (found,) = evidence.faults([Promise("a promise", "README.md", 1, shown)])
    assert found.endswith(fault)


@pytest.mark.parametrize(
    "shown",
    [
        "`test_what_is_not_shown_is_found`",
        "`tests/docs/test_evidence.py`, unit",
        "tests/docs",
        "`TestVerify`",
        "`TestVerify::test_what_was_signed_holds_and_what_was_changed_does_not`",
        "by intent",
    ],
)
def test_what_is_shown_is_taken(shown: str) -> None:
    assert list(evidence.faults([Promise("a promise", "README.md", 1, shown)])) == []
