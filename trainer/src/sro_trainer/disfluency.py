"""Human-written sentences spoilt in known ways: what a fluency detector learns from and is measured on. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KINDS = ("drop", "drop content", "swap", "shuffle", "insert", "duplicate", "cut")
"""One to three words left out; one to three content words left out; two neighbours exchanged; three to six words in a row
mixed; foreign words put in; one to three words said twice; the beginning or the end missing."""

LEAST_WORDS = 4
"""A shorter sentence cannot be spoilt for certain."""

_SPACES_BEFORE = re.compile(r"\s+([.,!?;:)%]|'(?:s|re|ve|d|ll|m|t)\b)")
_SPACES_AFTER = re.compile(r"(\()\s+")
_NEGATION = re.compile(r"\s+(n't)\b")
_PIECES = re.compile(r"[^\s.,!?;:()\"]+|[.,!?;:()\"]+")
# Words that carry grammar rather than content; deleting insults never deletes these.
_FUNCTION_WORDS = frozenset(
    word
    for line in (
        "the a an and or but if of to in on at for with by is are was were be been am it its it's this that these those i you",
        "he she they we me him her them us my your his their our not no do does did have has had will would can could should",
        "as so than then from there what who which when how why all just about up out",
    )
    for word in line.split()
)


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """A sentence and where it is wrong."""

    words: tuple[str, ...]
    """Words and runs of punctuation, in order."""
    wrong: tuple[bool, ...]
    """One flag per word: it is foreign, out of place, or follows a gap; and one for the end of the sentence."""
    kind: str
    """One of `KINDS`, or `clean`."""

    @property
    def text(self) -> str:
        """The words as a sentence."""
        return joined(self.words)


def normalised(text: str) -> str:
    """Lower case, single spaces, punctuation attached as it is written by people: how a text is spelt must not tell its origin."""
    spaced = " ".join(text.split())
    attached = _SPACES_AFTER.sub(r"\1", _SPACES_BEFORE.sub(r"\1", spaced))
    return _NEGATION.sub(r"\1", attached).lower()


def split_words(text: str) -> tuple[str, ...]:
    """Words and runs of punctuation of a normalised text."""
    return tuple(_PIECES.findall(text))


def joined(words: Sequence[str]) -> str:
    """The inverse of `split_words`, but for unusual spacing."""
    return _SPACES_AFTER.sub(r"\1", _SPACES_BEFORE.sub(r"\1", " ".join(words)))


def clean(text: str) -> Spoilt:
    """A text as it is."""
    words = split_words(normalised(text))
    return Spoilt(words=words, wrong=(False,) * (len(words) + 1), kind="clean")


def spoil(sentence: Spoilt, kind: str, generator: random.Random, foreign: Sequence[str]) -> Spoilt | None:
    """The sentence spoilt in one way; None if it has fewer than `LEAST_WORDS` words.

    Args:
        sentence: a clean one.
        kind: one of `KINDS`.
        generator: the only source of randomness.
        foreign: words to insert.
    """
    places = [place for place, word in enumerate(sentence.words) if is_word(word)]
    if len(places) < LEAST_WORDS:
        return None
    words, wrong = _WAYS[kind](list(sentence.words), places, generator, foreign)
    return Spoilt(words=tuple(words), wrong=tuple(wrong), kind=kind)


def is_word(piece: str) -> bool:
    """Whether a piece is a word and no punctuation."""
    return piece[0].isalnum()


_Marked = tuple[list[str], list[bool]]


def _drop(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    return _without(words, places, len(places), generator)


def _drop_content(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    content = [place for place in places if words[place] not in _FUNCTION_WORDS and len(words[place]) > 3]
    return _without(words, content or places, len(places), generator)


def _without(words: list[str], pool: list[int], length: int, generator: random.Random) -> _Marked:
    count = min(generator.choice((1, 1, 2, 2, 3)), max(1, length // 3), len(pool))
    gone = frozenset(generator.sample(pool, count))
    kept, wrong, gap = [], [], False
    for place, word in enumerate(words):
        if place in gone:
            gap = True
            continue
        kept.append(word)
        wrong.append(gap)
        gap = False
    return kept, [*wrong, gap]


def _swap(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    first = generator.randrange(len(places) - 1)
    return _rearranged(words, places[first : first + 2], [places[first + 1], places[first]])


def _shuffle(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    width = generator.randint(3, min(6, len(places)))
    start = generator.randrange(len(places) - width + 1)
    window = places[start : start + width]
    return _rearranged(words, window, generator.sample(window, width))


def _rearranged(words: list[str], window: list[int], order: list[int]) -> _Marked:
    mixed, wrong = list(words), [False] * (len(words) + 1)
    for place, source in zip(window, order, strict=True):
        mixed[place] = words[source]
        wrong[place] = words[place] != words[source]
    return mixed, wrong


def _insert(words: list[str], _places: list[int], generator: random.Random, foreign: Sequence[str]) -> _Marked:
    wrong = [False] * len(words)
    for _ in range(generator.choice((1, 1, 2))):
        place = generator.randrange(len(words))
        words.insert(place, generator.choice(foreign))
        wrong.insert(place, True)
    return words, [*wrong, False]


def _duplicate(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    width = generator.choice((1, 1, 2, 3))
    start = generator.randrange(len(places) - width + 1)
    begin, end = places[start], places[start + width - 1] + 1
    again = words[begin:end]
    return [*words[:end], *again, *words[end:]], [False] * end + [True] * len(again) + [False] * (len(words) - end + 1)


def _cut(words: list[str], places: list[int], generator: random.Random, _foreign: Sequence[str]) -> _Marked:
    keep = generator.randint(max(2, len(places) // 3), len(places) - 1)
    if generator.random() < 0.3:
        rest = words[places[len(places) - keep] :]
        return rest, [True] + [False] * len(rest)
    rest = words[: places[keep - 1] + 1]
    if not is_word(words[-1]) and generator.random() < 0.6:
        return [*rest, words[-1]], [False] * len(rest) + [True, True]
    return rest, [False] * len(rest) + [True]


_WAYS: dict[str, Callable[[list[str], list[int], random.Random, Sequence[str]], _Marked]] = {
    "drop": _drop,
    "drop content": _drop_content,
    "swap": _swap,
    "shuffle": _shuffle,
    "insert": _insert,
    "duplicate": _duplicate,
    "cut": _cut,
}
