"""Paired timing: two ways to one result alternate in one process, and the median of the ratios of each pair counts."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to the result: what is timed, and what comes before it and is not."""

    work: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None


def seconds(way: Way) -> float:
    prepared = way.prepare()
    start = time.perf_counter()
    way.work(prepared)
    return time.perf_counter() - start


def paired(name: str, texts: list[str], ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> Figure:
    """Alternate both, the first pair unmeasured; who goes first alternates as well. A ratio of 5: ours takes a fifth."""
    return beside(texts, Way(work=lambda _: ours()), {name: Way(work=lambda _: theirs())}, rounds)[0]


def beside(texts: list[str], ours: Way, theirs: Mapping[str, Way], rounds: int) -> list[Figure]:
    """One figure for each rival; in every round each of them and ours runs once, the order turned from round to round."""
    own, *others = times_of([ours, *theirs.values()], rounds)
    size = sum(len(text.encode()) for text in texts)
    return [figure(name, (own, times), len(texts), size) for name, times in zip(theirs, others, strict=True)]


def times_of(ways: Sequence[Way], rounds: int) -> list[list[float]]:
    """Seconds of each way in every round but the first, which is not measured."""
    for way in ways:
        seconds(way)
    taken: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds):
        for place in range(len(ways)):
            way_index = (place + turn) % len(ways)
            taken[way_index].append(seconds(ways[way_index]))
    return taken


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of the same rounds."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


def figure(name: str, times: tuple[list[float], list[float]], texts: int, size: int) -> Figure:
    ours, theirs = times
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return Figure(
        name=name,
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        ours_seconds=statistics.median(ours),
        theirs_seconds=statistics.median(theirs),
        rounds=len(ratios),
        texts=texts,
        bytes=size,
    )
