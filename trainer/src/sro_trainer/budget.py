"""How many padded tokens a forward takes at a time: found by a short calibration on the machine itself.

Too few leave the processor waiting between batches, too many fall out of its caches. Where the best lies depends on the
network and the machine, so it is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sro_trainer.forward import Forward

SMALLEST, LARGEST = 256, 65_536
WIDTH = 32
"""Tokens of a row of the calibration: about a sentence."""
PATIENCE_SECONDS = 2.0
"""The calibration ends once it has taken so long."""
CLOSE = 0.95
"""Of two budgets of about the same rate the smaller is taken: it needs less memory and answers sooner."""


def calibrated_budget(forward: Forward, *, max_tokens: int, now: Callable[[], float], limit: int = LARGEST) -> int:
    """The smallest budget of padded tokens whose rate comes close to the best.

    Args:
        forward: the network.
        max_tokens: of the longest row; a budget is never less than that.
        now: a clock, in seconds.
        limit: the largest budget that is tried.
    """
    rates: dict[int, float] = {}
    start = now()
    budget = max(SMALLEST, max_tokens)
    while budget <= limit:
        rates[budget] = _tokens_per_second(forward, budget, min(WIDTH, max_tokens), now)
        best = max(rates.values())
        spent, expected = now() - start, 4 * budget / rates[budget]
        # Twice the budget takes twice as long; a rate that falls does not rise again.
        if spent + expected > PATIENCE_SECONDS or rates[budget] < CLOSE * best:
            break
        budget *= 2
    best = max(rates.values())
    return min(budget for budget, rate in rates.items() if rate >= CLOSE * best)


def _tokens_per_second(forward: Forward, budget: int, width: int, now: Callable[[], float]) -> float:
    ids = np.ones((budget // width, width), dtype=np.int64)
    forward(ids[:1], ids[:1])
    seconds = []
    for _ in range(2):
        before = now()
        forward(ids, ids)
        seconds.append(now() - before)
    return ids.size / max(min(seconds), 1e-9)


def remembered_budget(path: Path | None, measure: Callable[[], int]) -> int:
    """The budget that an earlier attempt or another rank measured, or a new one: batches should not differ among them.

    Args:
        path: where it is kept; None keeps nothing.
        measure: finds a new one.
    """
    if path is None:
        return measure()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        staging.write_text(json.dumps({"batchTokens": measure()}) + "\n", encoding="utf-8")
        os.replace(staging, path)
    return int(json.loads(path.read_text(encoding="utf-8"))["batchTokens"])
