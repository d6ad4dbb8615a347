"""The short form of a suite, which CI runs, and the full one."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

PLATFORMS = os.environ.get("NOUS_VM_TEST_PLATFORMS", "debian-13 debian-testing").split()


class Form(NamedTuple):
    """The form in which a suite runs, and the command that runs it in full."""

    full: bool
    command: str

    def only_full(self, why: str) -> pytest.MarkDecorator:
        """Leave a test to the full form, and say why."""
        return pytest.mark.skipif(not self.full, reason=f"{why}: {self.command}")

    def only_on(self, platform: str, why: str) -> pytest.MarkDecorator:
        """In the short form, run a test that is the same on all platforms on one of them, and say why."""
        return pytest.mark.skipif(not self.full and platform not in PLATFORMS, reason=f"{why}: {platform} stands for it, or {self.command}")
