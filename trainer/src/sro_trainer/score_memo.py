"""Scores of texts that were judged before: a leader repeats itself, and an evaluation repeats the sources."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 65_536
"""Texts kept, the latest."""


class ScoreMemo:
    """The scores of the latest texts; a text is scored once while it is among them."""

    def __init__(self, score: Callable[[list[str]], NDArray[np.float32]], most: int = REMEMBERED) -> None:
        self._score = score
        self._most = most
        self._known: OrderedDict[str, np.float32] = OrderedDict()

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Of each text, shape (n,)."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = dict(zip(unknown, self._score(unknown), strict=True)) if unknown else {}
        answers = [found[text] if text in found else self._known[text] for text in texts]
        self._known.update(found)
        for text in texts:
            self._known.move_to_end(text)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return np.array(answers, dtype=np.float32)
