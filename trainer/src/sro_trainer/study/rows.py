"""Per-row figures of evaluations, as the cells left them, and what is estimated from them. Pure but for `read_rows`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sro_api.base import ApiModel

RESAMPLES = 2000
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RowFigures:
    """One evaluation, row by row."""

    sources: tuple[str, ...]
    values: Mapping[str, Values]
    """By the figure's name in `status.evaluation`, each of shape (rows,); NaN where a row was not measured, as a source for which
    nobody wrote a reference."""


class Estimate(ApiModel):
    """A mean over evaluation rows, with a 95 % interval where rows are known."""

    mean: float
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()
    """The mean of each seed: how far training itself varies, which the interval over rows does not say."""


def read_rows(path: Path) -> RowFigures | None:
    """Per-row figures of one evaluation.

    Args:
        path: a file of `evaluations/`, one JSON object a row with `source` and `figures`.

    Returns:
        None if there is no such file, or it holds texts alone.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return None
    names = dict.fromkeys(name for row in rows for name in row.get("figures", {}))
    if not names:
        return None
    measured = [row.get("figures", {}) for row in rows]
    values = {name: np.array([row.get(name, np.nan) for row in measured], dtype=np.float64) for name in names}
    return RowFigures(sources=tuple(str(row["source"]) for row in rows), values=values)


def averaged(measured: Sequence[RowFigures], figure: str) -> Values | None:
    """The mean over seeds of each row's value, shape (rows,); None if rows or figure are not the same in all."""
    if not measured or any(figure not in one.values or one.sources != measured[0].sources for one in measured):
        return None
    mean: Values = np.mean([one.values[figure] for one in measured], axis=0)
    return mean


def draws(rows: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Rows drawn with replacement, shape (resamples, rows): equal for all figures of a report, so that they vary together."""
    return np.random.default_rng(seed).integers(0, rows, size=(RESAMPLES, rows))


def estimate(values: Values, seeds: Sequence[float] = ()) -> Estimate:
    """The mean with its percentile bootstrap interval, over the rows that were measured.

    Args:
        values: of each row, averaged over seeds, shape (rows,), at least one of them measured.
        seeds: the mean of each seed.
    """
    (values,) = _measured(values)
    resampled = values[draws(len(values))].mean(axis=1)
    return _with_interval(float(values.mean()), resampled, seeds)


def difference(of: Values, against: Values) -> Estimate:
    """of - against on the same rows."""
    return estimate(of - against)


def ratio(of: Values, against: Values) -> Estimate | None:
    """mean(of) / mean(against) on the same rows; None where the second mean is 0."""
    of, against = _measured(of, against)
    if against.mean() == 0:
        return None
    chosen = draws(len(of))
    below = against[chosen].mean(axis=1)
    kept = below != 0
    return _with_interval(float(of.mean() / against.mean()), of[chosen].mean(axis=1)[kept] / below[kept])


def recovered(of: Values, harmed: Values, clean: Values) -> Estimate | None:
    """(of - harmed) / (clean - harmed): the share of the harm that is won back; None where nothing was lost."""
    of, harmed, clean = _measured(of, harmed, clean)
    lost = clean.mean() - harmed.mean()
    if lost <= 0:
        return None
    chosen = draws(len(of))
    below = (clean - harmed)[chosen].mean(axis=1)
    # Of a harm that may not be one, no share can be told.
    if (below <= 0).mean() > 0.025:
        return Estimate(mean=float((of.mean() - harmed.mean()) / lost))
    kept = below > 0
    return _with_interval(
        float((of.mean() - harmed.mean()) / lost), (of - harmed)[chosen].mean(axis=1)[kept] / below[kept]
    )


def _measured(*sides: Values) -> list[Values]:
    """The rows that were measured on all sides."""
    there = ~np.isnan(np.sum(sides, axis=0))
    return [side[there] for side in sides]


def _with_interval(mean: float, resampled: Values, seeds: Sequence[float] = ()) -> Estimate:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(mean=mean, low=float(low), high=float(high), seeds=tuple(seeds))
