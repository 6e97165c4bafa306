"""Batches in time: while the network reads one window of texts, the next window is tokenized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_screener import Encoder, PaddedBatch, encode_batches

WINDOW_BATCHES = 16
"""Batches of a window, about: few enough to begin soon, enough to sort well."""
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedBatch:
    """A padded batch and the places of its rows in the whole list."""

    input_ids: NDArray[np.int64]
    """Shape (rows, width)."""
    attention_mask: NDArray[np.int64]
    """Shape (rows, width)."""
    places: NDArray[np.int64]
    """Shape (rows,)."""


def batch_stream(encoder: Encoder, texts: Sequence[str], max_tokens: int) -> Iterator[PlacedBatch]:
    """Batches of like length over all texts, about the longest first.

    Long texts mostly have many tokens, so windows are cut from the texts in order of length and each is sorted exactly
    once it is tokenized. Tokenizing leaves the interpreter, so the two run at once.

    Args:
        encoder: the tokenizer.
        texts: in any order.
        max_tokens: padded tokens of a batch.
    """
    windows = windows_of(texts, max_tokens)
    if len(windows) == 1:
        yield from _placed(_encoded(encoder, texts, windows[0], max_tokens), windows[0])
        return
    with ThreadPoolExecutor(1, thread_name_prefix="sro-tokenizer") as pool:
        waiting = [pool.submit(_encoded, encoder, texts, window, max_tokens) for window in windows[:1]]
        for at, window in enumerate(windows):
            batches = waiting.pop().result()
            if at + 1 < len(windows):
                waiting.append(pool.submit(_encoded, encoder, texts, windows[at + 1], max_tokens))
            yield from _placed(batches, window)


def windows_of(texts: Sequence[str], max_tokens: int) -> list[NDArray[np.int64]]:
    """Places of the texts of each window, the longest texts first; equal lengths in order."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    order = np.argsort(-lengths, kind="stable")
    if not len(order):
        return []
    # One more token for each text: even an empty one has special tokens.
    tokens = np.cumsum(lengths[order] // CHARACTERS_PER_TOKEN + 1)
    windows = (tokens - 1) // (WINDOW_BATCHES * max_tokens)
    return [order[windows == window] for window in np.unique(windows)]


def _encoded(encoder: Encoder, texts: Sequence[str], window: NDArray[np.int64], max_tokens: int) -> list[PaddedBatch]:
    chosen = [texts[place] for place in window.tolist()]
    batches = encode_batches(encoder, chosen, max_tokens=max_tokens, dtype="int64")
    return [batch for batch in batches if isinstance(batch, PaddedBatch)]


def _placed(batches: list[PaddedBatch], window: NDArray[np.int64]) -> Iterator[PlacedBatch]:
    for batch in batches:
        yield PlacedBatch(
            input_ids=batch.input_ids.astype(np.int64, copy=False),
            attention_mask=batch.attention_mask.astype(np.int64, copy=False),
            places=window[batch.permutation],
        )
