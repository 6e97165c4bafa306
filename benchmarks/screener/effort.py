"""How much a benchmark of scoring measures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paired import paired


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Rounds and texts."""

    quick: bool
    threads: int

    @property
    def rounds(self) -> int:
        """Measured pairs of a figure that takes milliseconds."""
        return 5 if self.quick else 11

    @property
    def network_rounds(self) -> int:
        """Measured rounds of a figure that takes seconds; each has other texts."""
        return 5 if self.quick else 11

    @property
    def network_texts(self) -> int:
        """Texts of such a round."""
        return 64 if self.quick else 128

    @property
    def sampled(self) -> int:
        """Texts of the run, on which the product compares the runtimes."""
        return 32 if self.quick else 128

    @property
    def batch_tokens(self) -> int | None:
        """Of a forward; none: measured, as in a run, which takes seconds. The quick one takes what is mostly found here."""
        return 512 if self.quick else None

    @property
    def fitted(self) -> int:
        """Texts that the classifier's head is fitted on."""
        return 200 if self.quick else 4000

    @property
    def judged(self) -> int:
        """Other texts, whose verdicts are compared; none where too few would be compared to tell anything."""
        return 0 if self.quick else 5000


def median_ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> float:
    """Their time over ours."""
    return paired("", [], ours, theirs, rounds).ratio
