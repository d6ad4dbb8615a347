# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers held against records: a false alarm is none, and what has no record is not taken for recorded."""

from __future__ import annotations

import random

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.answers import Answers, Calls


class Service:
    """A server behind a proxy: calls come, are recorded, and are answered, each in its own time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.waiting = self.recorded = self.answered = self.records = self.left = 0
        self.broken = self.rejecting = False

    def step(self) -> None:
        self.waiting += not self.rejecting and self.waiting + self.recorded < 8 and self.chance.random() < 0.5
        if self.waiting and self.chance.random() < 0.5:
            self.waiting, self.recorded = self.waiting - 1, self.recorded + 1
            self.records, self.left = self.records + (not self.broken), self.left + self.broken
        if self.recorded and self.chance.random() < 0.5:
            self.recorded, self.answered = self.recorded - 1, self.answered + 1

    def calls(self) -> Calls:
        return Calls(self.answered, self.waiting + self.recorded)


def test_what_is_said_is_a_bound() -> None:
    for seed in range(200):
        service = Service(seed)
        answers = Answers(service.calls)
        for _sample in range(20):
            for _step in range(service.chance.randrange(30)):
                service.step()
            before = answers.since[1] if answers.since else None
            answers.count()
            for _step in range(service.chance.randrange(3)):  # the watcher is asked a moment later
                service.step()
            answers.told(service.records, well=True)
            assert before != service.records or (answers.since_record or 0) <= 2, "every answer was recorded"
        for _step in range(service.chance.randrange(100)):
            service.step()
        service.broken = True
        for _step in range(service.chance.randrange(60)):
            service.step()
        answers.told(service.records, well=False)
        service.rejecting = True
        while service.calls().under_way:
            service.step()
        answers.count()
        unrecorded = answers.unrecorded()
        assert unrecorded is not None
        assert service.left <= unrecorded <= service.left + 8 + 3


def test_a_proxy_that_was_started_anew_counts_from_nothing() -> None:
    counted = [Calls(100, 0), Calls(3, 0), Calls(9, 0)]
    answers = Answers(lambda: counted.pop(0))
    for _sample in range(2):
        answers.count()
        answers.told(50, well=True)
    answers.count()
    assert (answers.since_record, answers.unrecorded()) == (0, 6)
    answers.told(50, well=False)
    assert answers.since_record == 6
    answers.forget()
    assert answers.unrecorded() is None


def test_only_what_was_told_after_the_proxy_was_asked_belongs_to_it() -> None:
    answers = Answers(lambda: Calls(5, 0))
    answers.count()
    answers.told(1, well=True)
    answers.told(9, well=True)
    assert answers.well == (5, 1)
