"""Paired timing: two ways to one result alternate in one process, and the median of the ratios of each pair counts."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One comparison; seconds are medians over all rounds."""

    name: str
    ratio: float
    lowest: float
    highest: float
    ours_seconds: float
    theirs_seconds: float
    rounds: int
    texts: int
    bytes: int


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(name: str, texts: list[str], ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> Figure:
    """Alternate both, the first pair unmeasured; who goes first alternates as well. A ratio of 5: ours takes a fifth."""
    ours(), theirs()
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            b, a = seconds(theirs), seconds(ours)
        else:
            a, b = seconds(ours), seconds(theirs)
        pairs.append((a, b))
    ratios = [b / a for a, b in pairs]
    return Figure(
        name=name,
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        ours_seconds=statistics.median(a for a, _ in pairs),
        theirs_seconds=statistics.median(b for _, b in pairs),
        rounds=rounds,
        texts=len(texts),
        bytes=sum(len(text.encode()) for text in texts),
    )
