"""Eight runs at once, round after round: one key, and one run that says changed."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from keysets import FULL, KeySet, child

RACERS = 8
ROUNDS = 200 if FULL else 25


def race(keys: KeySet, rotations: list[str]) -> list[int]:
    """Start runs at the same moment; return for each whether it changed something."""
    gate, opener = os.pipe()

    def racer(rotation: str) -> Callable[[], int]:
        def run() -> int:
            os.close(opener)
            os.read(gate, 1)
            return 1 if keys.run(rotation) else 0

        return run

    racers = [child(racer(rotation)) for rotation in rotations]
    os.close(gate)
    os.close(opener)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racers]


@pytest.mark.parametrize("rotations", [["keep"] * RACERS, ["keep", "begin"] * (RACERS // 2)], ids=["create", "mixed"])
def test_from_nothing(rotations: list[str], fresh: Callable[[], KeySet]) -> None:
    for _round in range(ROUNDS):
        keys = fresh()
        assert sorted(race(keys, rotations)) == [0] * (RACERS - 1) + [1]
        keys.is_well()


def test_an_old_key(fresh: Callable[[], KeySet]) -> None:
    """Site and rotation at once: one rotation, whoever comes first."""
    for _round in range(ROUNDS):
        keys = fresh()
        keys.run()
        before = keys.signs()
        keys.age()
        changed = race(keys, ["keep", "begin"] * (RACERS // 2))
        assert changed[::2] == [0] * (RACERS // 2)
        assert sorted(changed[1::2]) == [0] * (RACERS // 2 - 1) + [1]
        assert set(keys.published()) == {before, keys.signs()}
        keys.is_well(2)


def test_all_steps_at_once(fresh: Callable[[], KeySet]) -> None:
    """Whatever the order, the old key stays published, and one run of each step says changed."""
    for _round in range(ROUNDS):
        keys = fresh()
        keys.run()
        before = keys.signs()
        keys.age()
        changed = race(keys, ["keep", "begin", "finish", "begin", "finish", "keep", "begin", "finish"])
        assert [changed[0], changed[5]] == [0, 0]
        assert changed[1] + changed[3] + changed[6] == 1
        assert changed[2] + changed[4] + changed[7] <= 1
        assert before in keys.published()
        keys.is_well(2)
