"""How long news is gathered before it is acted on or written. Pure."""

from __future__ import annotations

GATHERING_SECONDS = (0.1, 2.0)
"""A look that a child asks for waits at least and at most so long: the pods of a gang change together."""
GATHERED_ANSWERS = 10
"""Answers of the API server that it waits for in between: the busier that is, the more of a job's changes one status tells."""
FIRST_WORDS_LIMIT_SECONDS = 5.0
FIRST_WORDS_ANSWERS = 50
"""Answers of the API server that it takes a Job's controller, the scheduler and a node to start pods, or thereabouts."""
WORDS_SECONDS = (5.0, 30.0)
"""A status that differs in its words alone is written at least and at most so long after the one before it."""
WORDS_ANSWERS = 300
START_SECONDS = 60.0
"""One that differs in when the running attempt started; sooner beside anything else."""


def gathering_seconds(answer_seconds: float) -> float:
    """How long changes of a job's children are gathered before it is looked at, by how long the API server takes to answer."""
    least, most = GATHERING_SECONDS
    return max(least, min(most, GATHERED_ANSWERS * answer_seconds))


def first_words_seconds(answer_seconds: float) -> float:
    """How long a new job's first status waits for its pods, so that it can tell of them too; 0 where the API server is quick."""
    if gathering_seconds(answer_seconds) == GATHERING_SECONDS[0]:
        return 0.0
    return min(FIRST_WORDS_LIMIT_SECONDS, FIRST_WORDS_ANSWERS * answer_seconds)


def words_seconds(answer_seconds: float) -> float:
    """How long a status that differs in its words alone waits after the one before it."""
    least, most = WORDS_SECONDS
    return max(least, min(most, WORDS_ANSWERS * answer_seconds))
