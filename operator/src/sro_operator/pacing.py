"""How long news is gathered before it is acted on or written. Pure."""

from __future__ import annotations

GATHERING_SECONDS = (0.1, 2.0)
"""A look that a child asks for waits at least and at most so long: the pods of a gang change together."""
GATHERED_ANSWERS = 10
"""Answers of the API server that it waits for in between: the busier that is, the more of a job's changes one status tells."""


def gathering_seconds(answer_seconds: float) -> float:
    """How long changes of a job's children are gathered before it is looked at, by how long the API server takes to answer."""
    least, most = GATHERING_SECONDS
    return max(least, min(most, GATHERED_ANSWERS * answer_seconds))


def first_words_seconds(answer_seconds: float) -> float:
    """How long a new job's first status waits for its pods, so that it can tell of them too; 0 where the API server is quick."""
    seconds = gathering_seconds(answer_seconds)
    return seconds if seconds > GATHERING_SECONDS[0] else 0.0
