"""Neutral sentences made toxic with words alone: what the warm start learns to undo. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sro_api.training import WarmStartSpec


def corrupt(sentence: str, words: Sequence[str], generator: random.Random, spec: WarmStartSpec) -> str:
    """The sentence with 1 to `max_insertions` toxic words put between its words or in the place of some.

    A word of the sentence is replaced with `replace_probability`, never the last one that is its own: something must be
    left to restore from. The text between words becomes single spaces.

    Args:
        sentence: neutral text of at least one word.
        words: toxic words, at least one.
        generator: the only source of randomness.
        spec: how much to corrupt.
    """
    corrupted = sentence.split()
    own = [True] * len(corrupted)
    for _ in range(generator.randint(1, spec.max_insertions)):
        toxic = generator.choice(words)
        if generator.random() < spec.replace_probability and sum(own) > 1:
            place = generator.choice([index for index, is_own in enumerate(own) if is_own])
            corrupted[place], own[place] = toxic, False
        else:
            place = generator.randint(0, len(corrupted))
            corrupted.insert(place, toxic)
            own.insert(place, False)
    return " ".join(corrupted)
