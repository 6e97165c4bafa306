"""Batches in time, the token budget, remembered scores; with a network that is arithmetic and a clock that is a counter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sro_screener import Encoder
from sro_trainer.batch_stream import batch_stream, windows_of
from sro_trainer.budget import calibrated_budget, remembered_budget
from sro_trainer.score_memo import ScoreMemo

ENCODER = Encoder.from_json(
    json.dumps(
        {
            "version": "1.0",
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 9, "vocab": {"[PAD]": 0, "u": 1, "a": 2, "b": 3}},
        }
    ),
    None,
)  # fmt: skip
TEXTS = [" ".join("ab"[(i + j) % 2] for j in range(i * 7 % 40)) for i in range(300)]


@pytest.mark.parametrize("max_tokens", [8, 60, 100_000], ids=["many windows", "some windows", "one window"])
def test_every_text_comes_once_with_its_ids_and_within_the_budget(max_tokens: int) -> None:
    ids, offsets = ENCODER.encode_ids(TEXTS)
    seen = []
    for batch in batch_stream(ENCODER, TEXTS, max_tokens):
        assert len(batch.places) == 1 or batch.input_ids.size <= max_tokens
        assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64
        for row, place in enumerate(batch.places.tolist()):
            expected = ids[offsets[place] : offsets[place + 1]]
            assert batch.input_ids[row][batch.attention_mask[row] == 1].tolist() == expected.tolist()
            seen.append(place)
    assert sorted(seen) == list(range(len(TEXTS)))


def test_windows_hold_the_longest_texts_first() -> None:
    windows = windows_of(TEXTS, 8)
    assert len(windows) > 3
    lengths = [len(TEXTS[place]) for window in windows for place in window]
    assert lengths == sorted(lengths, reverse=True)
    assert windows_of([], 8) == []


def test_no_texts_make_no_batches() -> None:
    assert list(batch_stream(ENCODER, [], 64)) == []


class Machine:
    """A forward that takes a fixed time a batch and a time a token, which rises once a batch is too large."""

    def __init__(self, *, overhead: float, crowded: int) -> None:
        self.overhead, self.crowded = overhead, crowded
        self.seconds = 0.0

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        assert attention_mask.shape == input_ids.shape
        slow = 3.0 if input_ids.size > self.crowded else 1.0
        self.seconds += self.overhead + 1e-6 * slow * input_ids.size
        return np.zeros((len(input_ids), 2), dtype=np.float32)

    def now(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("overhead", "crowded", "expected"),
    [(0.0, 10**9, 256), (1e-3, 10**9, 16384), (1e-3, 4096, 4096), (1e-9, 300, 256)],
    ids=["no overhead", "an overhead to spread", "caches that end at 4096", "small caches"],
)
def test_the_budget_is_the_smallest_that_comes_close_to_the_best_rate(
    overhead: float, crowded: int, expected: int
) -> None:
    machine = Machine(overhead=overhead, crowded=crowded)
    assert calibrated_budget(machine, max_tokens=128, now=machine.now) == expected


def test_a_calibration_ends_in_time_and_a_row_always_fits() -> None:
    machine = Machine(overhead=0.7, crowded=10**9)
    assert calibrated_budget(machine, max_tokens=2000, now=machine.now) == 2000
    assert machine.seconds < 5


def test_a_budget_is_measured_once_for_all_attempts_and_ranks(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "tokens.json"
    assert remembered_budget(path, lambda: 512) == 512
    assert remembered_budget(path, lambda: 1024) == 512
    assert remembered_budget(None, lambda: 1024) == 1024
    assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]


def counted(most: int) -> tuple[ScoreMemo, list[str]]:
    read: list[str] = []

    def score(texts: list[str]) -> Any:
        read.extend(texts)
        return np.array([len(text) / 10 for text in texts], dtype=np.float32)

    return ScoreMemo(score, most), read


def test_a_text_is_scored_once() -> None:
    memo, read = counted(10)
    first = memo.scores(["aa", "b", "aa"])
    assert first == pytest.approx([0.2, 0.1, 0.2])
    assert memo.scores(["b", "ccc"]) == pytest.approx([0.1, 0.3])
    assert memo.scores([]).shape == (0,)
    assert read == ["aa", "b", "ccc"]


def test_the_memo_keeps_the_latest_texts_and_no_more() -> None:
    memo, read = counted(2)
    memo.scores(["a", "bb"])
    memo.scores(["a"])
    memo.scores(["ccc"])
    memo.scores(["a", "bb"])
    assert read == ["a", "bb", "ccc", "bb"]
    assert memo.scores(["a", "bb", "ccc", "dddd"]) == pytest.approx([0.1, 0.2, 0.3, 0.4])
