"""Threads, forked children, and the variable that sets the number of threads."""

import multiprocessing
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from sro_screener import Encoder, NbLogistic
from sro_screener.testing import generated_text

CHILD_SECONDS = 30


def many_texts() -> list[str]:
    rng = random.Random(11)
    return [generated_text(rng) for _ in range(3000)]


def words_screener() -> NbLogistic:
    words = sorted({f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"})
    ones = np.ones(len(words))
    return NbLogistic.from_parts(words, ones, ones, np.linspace(-3, 3, len(words)), 0.0)


def test_the_number_of_threads_does_not_change_a_result(uncased: Tokenizer) -> None:
    encoder, texts = Encoder.from_json(uncased.to_str(), None), many_texts()
    ids, offsets = encoder.encode_ids(texts, threads=1)
    scores = words_screener().score(texts, threads=1)
    for threads in (2, 3, 16):
        again = encoder.encode_ids(texts, threads=threads)
        assert np.array_equal(again[0], ids)
        assert np.array_equal(again[1], offsets)
        assert np.array_equal(words_screener().score(texts, threads=threads), scores)


def test_threads_that_race_for_one_encoder_get_the_same_ids(uncased: Tokenizer) -> None:
    encoder, texts = Encoder.from_json(uncased.to_str(), None), many_texts()
    expected = encoder.encode_ids(texts, threads=1)[0]
    start = threading.Barrier(8)

    def race(_: int) -> bool:
        start.wait()
        return all(np.array_equal(encoder.encode_ids(texts, threads=2)[0], expected) for _ in range(4))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(race, range(8)))


def test_a_forked_child_encodes_and_scores_with_threads(uncased: Tokenizer) -> None:
    encoder, screener, texts = Encoder.from_json(uncased.to_str(), None), words_screener(), many_texts()
    expected = encoder.encode_ids(texts, threads=2)[0]
    scores = screener.score(texts, threads=2)
    busy = threading.Event()
    done = threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            encoder.encode_ids(texts, threads=2)
            busy.set()

    worker = threading.Thread(target=keep_busy)
    worker.start()
    busy.wait()
    try:
        for _ in range(5):
            assert forked(lambda: np.array_equal(encoder.encode_ids(texts, threads=2)[0], expected))
            assert forked(lambda: np.array_equal(screener.score(texts, threads=2), scores))
    finally:
        done.set()
        worker.join()


class Encoded(torch.utils.data.Dataset[np.ndarray[Any, Any]]):
    """Ids of a part of the texts, made in a loader's worker."""

    def __init__(self, encoder: Encoder, texts: list[str]) -> None:
        self.encoder, self.texts = encoder, texts

    def __len__(self) -> int:
        return 4

    def __getitem__(self, part: int) -> np.ndarray[Any, Any]:
        return self.encoder.encode_ids(self.texts[part::4], threads=2)[0]


def test_workers_of_a_data_loader_encode_with_threads(uncased: Tokenizer) -> None:
    encoder, texts = Encoder.from_json(uncased.to_str(), None), many_texts()
    expected = [encoder.encode_ids(texts[part::4], threads=2)[0] for part in range(4)]
    loader = torch.utils.data.DataLoader(
        Encoded(encoder, texts), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=CHILD_SECONDS
    )
    for found, ids in zip(loader, expected, strict=True):
        assert np.array_equal(found, ids)


POOLED: dict[str, list[str]] = {}


def score_part(part: int) -> np.ndarray[Any, Any]:
    """What a forked process does: at the top of the module, where it is found by name."""
    return words_screener().score(POOLED["texts"][part::4], threads=2)


def test_a_pool_of_forked_processes_scores_with_threads() -> None:
    POOLED["texts"] = many_texts()
    expected = words_screener().score(POOLED["texts"], threads=2)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = pool.map_async(score_part, range(4)).get(timeout=CHILD_SECONDS)
    for part, scores in enumerate(parts):
        assert np.array_equal(scores, expected[part::4])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_ends_a_long_call(threads: int) -> None:
    screener = words_screener()
    # Some minutes of work, in little memory.
    texts = ["aa bb, ab ba " * 2000] * 2_000_000

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            screener.score(texts, threads=threads)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert screener.score(["aa"], threads=threads).shape == (1,)


def forked(holds: object) -> bool:
    """Whether the claim holds in a forked child; a child that hangs is ended by its alarm."""
    assert callable(holds)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        os._exit(0 if holds() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_variable_sets_the_number_of_threads(uncased: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.from_json(uncased.to_str())
    monkeypatch.setenv("SRO_SCREENER_THREADS", "2")
    assert len(encoder.encode(["a"])) == 1
    for wrong in ("0", "many", "-1", ""):
        monkeypatch.setenv("SRO_SCREENER_THREADS", wrong)
        with pytest.raises(ValueError, match=f'SRO_SCREENER_THREADS: "{wrong}" is not a number of threads, 1 or more'):
            encoder.encode(["a"])
    assert len(encoder.encode(["a"], threads=1)) == 1
