"""What arms have in common by construction."""

import numpy as np
import pytest

from motive.training.turns import Turn, batch_of, level_of, noise_of, rate_of

POOL = tuple(f"clip{n}" for n in range(12))
SOME = POOL[1::3]


def test_in_a_step_a_clip_meets_the_same_noise_at_the_same_level_whatever_the_arm() -> None:
    met = 0
    for step in range(60):
        few = {(turn.clip, turn.again): turn for turn in batch_of(SOME, 5, step, 3)}
        for turn in batch_of(POOL, 5, step, 3):
            if other := few.get((turn.clip, turn.again)):
                met += 1
                assert (noise_of(turn, 5, (2, 3)) == noise_of(other, 5, (2, 3))).all()
                assert level_of(turn, 5, 3.0) == level_of(other, 5, 3.0)
    assert met > 5


def test_clips_come_in_the_same_order_in_every_arm_and_each_once_an_epoch() -> None:
    for epoch in range(3):
        whole = [turn.clip for step in range(4) for turn in batch_of(POOL, 5, 4 * epoch + step, 3)]
        few = [turn.clip for step in range(2) for turn in batch_of(SOME, 5, 2 * epoch + step, 2)]
        assert sorted(whole) == sorted(POOL)
        assert few == [clip for clip in whole if clip in SOME]


def test_another_seed_step_or_turn_meets_other_noise() -> None:
    turn = Turn("clip1", 4, 0)
    others = [(turn, 6), (Turn("clip1", 5, 0), 5), (Turn("clip1", 4, 1), 5), (Turn("clip2", 4, 0), 5)]
    for other, seed in others:
        assert (noise_of(turn, 5, (4,)) != noise_of(other, seed, (4,))).all()
        assert level_of(turn, 5, 3.0) != level_of(other, seed, 3.0)


def test_a_clip_that_is_twice_in_a_batch_has_two_turns() -> None:
    turns = batch_of(("a", "b"), 0, 3, 5)
    assert len(set(turns)) == 5


def test_levels_follow_the_shifted_schedule() -> None:
    levels = np.array([level_of(Turn("a", step, 0), 1, 3.0) for step in range(2000)])
    u = levels / (3 - 2 * levels)
    assert np.abs(np.sort(u) - np.linspace(0, 1, len(u))).max() < 0.04
    part = np.array([level_of(Turn("a", step, 0), 1, 5.0, (0.875, 1.0)) for step in range(500)])
    assert 0.875 <= part.min() < 0.885 and 0.99 < part.max() < 1


def test_the_rate_rises_and_falls_as_told() -> None:
    assert [rate_of(step, 6, 1.0, 2, "constant") for step in range(6)] == [0.5, 1, 1, 1, 1, 1]
    assert [rate_of(step, 6, 1.0, 2, "linear") for step in range(6)] == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
