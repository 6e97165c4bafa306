"""The order in which rows are visited: a function of the seed, so that a resumed run goes on exactly where it was. Pure."""

from __future__ import annotations

import random
from functools import lru_cache


def batch_rows(step: int, *, batch_size: int, rows: int, seed: str) -> list[int]:
    """The rows of one step: every row once per epoch, in a new order each time; a batch may span two epochs.

    Args:
        step: counted from 0.
        batch_size: rows per step, over all processes.
        rows: how many there are, at least 1.
        seed: names the stream as well as its number.
    """
    first = step * batch_size
    places = (divmod(position, rows) for position in range(first, first + batch_size))
    return [_epoch_order(rows, f"{seed}/{epoch}")[place] for epoch, place in places]


@lru_cache(maxsize=4)
def _epoch_order(rows: int, seed: str) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(seed).shuffle(order)
    return tuple(order)


def steps_in(epochs: int, *, batch_size: int, rows: int) -> int:
    """Steps after which every row was visited `epochs` times."""
    return -(-epochs * rows // batch_size)
