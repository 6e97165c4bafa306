"""What the screener alone would let through: empty, cut, copied, drifted and broken paraphrases. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_api.training import GuardsSpec

Flags = NDArray[np.bool_]

REFUSALS = ("copy", "screener", "empty", "short", "unfinished", "dissimilar", "disfluent")
"""Names under which rows are counted, in the order in which they are asked; a row counts under the first that holds."""


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """The verdicts that the loss sees, one per paraphrase."""

    passed: Flags
    """Passed by the screener and by every guard."""
    used: Flags
    """False where the row is left out of the loss."""
    counts: dict[str, int]
    """Rows per outcome: each name of `REFUSALS`, and `passed`. They add up to the number of rows."""


def apply_guards(
    sources: Sequence[str],
    paraphrases: Sequence[str],
    screener_passed: Flags,
    similarities: NDArray[np.float32] | None,
    has_eos: Flags,
    spec: GuardsSpec,
    *,
    fluencies: NDArray[np.float64] | None = None,
) -> Guarded:
    """Verdicts of the screener, narrowed by the guards.

    Args:
        sources: toxic texts, one per paraphrase.
        paraphrases: what the leader wrote.
        screener_passed: the screener's own verdicts, shape (n,).
        similarities: cosine of source and paraphrase, shape (n,); None where the guard is off.
        has_eos: whether the paraphrase ended by itself within its token limit, shape (n,).
        spec: which guards are on.
        fluencies: how fluent each paraphrase is, shape (n,); None where the guard is off.
    """
    lengths = np.array([len(text.strip()) for text in paraphrases], dtype=np.int64)
    copies = np.array([is_copy(x, y) for x, y in zip(sources, paraphrases, strict=True)], dtype=np.bool_)
    nobody = np.zeros(len(paraphrases), dtype=np.bool_)
    holds: dict[str, Flags] = {
        "copy": copies if spec.skip_copies else nobody,
        "screener": ~screener_passed,
        "empty": lengths == 0,
        "short": lengths < spec.min_characters,
        "unfinished": ~has_eos if spec.require_eos else nobody,
        "dissimilar": nobody
        if similarities is None or spec.similarity is None
        else similarities < spec.similarity.floor,
        "disfluent": nobody if fluencies is None or spec.fluency is None else fluencies < spec.fluency.floor,
    }
    counts, passed = _first_refusals(holds)
    return Guarded(passed=passed, used=~holds["copy"], counts=counts | {"passed": int(passed.sum())})


def is_copy(source: str, paraphrase: str) -> bool:
    """Whether two texts are equal once case is folded and runs of white space count as one space."""
    return _normalised(source) == _normalised(paraphrase)


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def _first_refusals(holds: dict[str, Flags]) -> tuple[dict[str, int], Flags]:
    remaining = np.ones_like(holds["screener"])
    counts = {}
    for name in REFUSALS:
        refused = remaining & holds[name]
        counts[name] = int(refused.sum())
        remaining &= ~refused
    return counts, remaining
