"""The port to the follower: what every screener answers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Answers in the order of the texts."""

    scores: NDArray[np.float32]
    """Toxicity in [0, 1], shape (n,)."""
    passed: NDArray[np.bool_]
    """Score below the threshold, shape (n,)."""


class Screener(Protocol):
    """A frozen classifier of texts."""

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text."""
        ...

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """The n single words weighed as most toxic, most toxic first; fewer if there are fewer.

        Raises:
            ConfigurationError: the screener has no word weights.
        """
        ...

    def describe(self) -> str:
        """One line for the log and the model card: kind, size, threshold."""
        ...
