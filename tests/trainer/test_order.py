"""The order of rows: every row once per epoch, and no memory."""

from __future__ import annotations

from sro_trainer.order import batch_rows, steps_in


def visits(steps: range, *, batch_size: int = 4, rows: int = 10, seed: str = "0") -> list[int]:
    return [row for step in steps for row in batch_rows(step, batch_size=batch_size, rows=rows, seed=seed)]


def test_every_row_is_visited_once_per_epoch() -> None:
    twenty = visits(range(5))
    assert sorted(twenty[:10]) == list(range(10))
    assert sorted(twenty[10:]) == list(range(10))
    assert twenty[:10] != twenty[10:]


def test_a_step_asked_alone_gives_what_it_gives_in_turn() -> None:
    assert visits(range(3, 4)) == visits(range(5))[12:16]


def test_another_seed_gives_another_order() -> None:
    assert visits(range(2), seed="0") != visits(range(2), seed="1")


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert sorted(batch_rows(0, batch_size=6, rows=3, seed="0")) == [0, 0, 1, 1, 2, 2]


def test_steps_cover_the_epochs() -> None:
    assert steps_in(2, batch_size=4, rows=10) == 5
    assert steps_in(1, batch_size=16, rows=10) == 1
