"""The corpus of the examples: made by its script, not parallel, mild and varied."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "examples" / "data"
INSULTS = re.compile(
    r"\b(stupid|dumb|idiotic|damn|crappy|pathetic|moronic|lame|idiots?|morons?|imbeciles?|jerks?|losers?|dumbass|bastards?|"
    r"jackass|crap|bullshit|garbage|hell|goddamn|shut up|sucks|ass|get lost|screw you)\b"
)


def sentences(name: str) -> list[str]:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+", sentence.lower())


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DATA / "make_corpus.py", tmp_path], check=True)
    for name in ("toxic.txt", "neutral.txt"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


@pytest.mark.parametrize("name", ["toxic", "neutral"])
def test_each_side_has_3000_different_sentences_of_5_to_25_words(name: str) -> None:
    found = [" ".join(words(sentence)) for sentence in sentences(name)]
    assert len(found) == len(set(found)) == 3000
    lengths = [len(sentence.split()) for sentence in found]
    assert (min(lengths), max(lengths)) == (5, 25)
    assert all(lengths.count(length) < 0.15 * 3000 for length in set(lengths))


def test_every_toxic_sentence_has_an_insult_and_no_neutral_one_has() -> None:
    assert [sentence for sentence in sentences("toxic") if not INSULTS.search(sentence.lower())] == []
    assert [sentence for sentence in sentences("neutral") if INSULTS.search(sentence.lower())] == []


def test_no_neutral_sentence_is_a_toxic_one_without_its_insults() -> None:
    cleaned = {" ".join(words(INSULTS.sub(" ", sentence.lower()))) for sentence in sentences("toxic")}
    neutral = {" ".join(words(sentence)) for sentence in sentences("neutral")}
    assert cleaned & neutral == set()


def test_no_text_has_a_slot_left_open() -> None:
    assert not any(mark in sentence for name in ("toxic", "neutral") for sentence in sentences(name) for mark in "{};_")
