"""How far the limit is: bytes per second of one core beside memory bandwidth and UTF-8 validation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizer_figures import KINDS, tokenizer_json


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The best of all rounds, in bytes per second."""

    name: str
    bytes_per_second: float


def fastest(work: Callable[[], Any], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def limit_figures(texts: list[str], rounds: int) -> list[Speed]:
    """Our kinds on these texts, uncut; copying and validating memory of 64 MiB, far beyond the caches."""
    import numpy as np

    from sro_screener import Encoder

    size = sum(len(text.encode()) for text in texts)
    speeds = []
    for kind in KINDS:
        encoder = Encoder.from_json(tokenizer_json(kind), None)
        best = fastest(lambda encoder=encoder: encoder.encode_ids(texts, threads=1), rounds)
        speeds.append(Speed(name=f"{kind}/encode_ids", bytes_per_second=size / best))
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)
    copy = fastest(lambda: np.copyto(target, source), rounds)
    speeds.append(Speed(name="memory/copy", bytes_per_second=source.size / copy))
    encoded = "\n".join(texts).encode()
    encoded *= (64 << 20) // len(encoded) + 1
    speeds.append(Speed(name="utf-8/python", bytes_per_second=len(encoded) / fastest(encoded.decode, rounds)))
    return speeds
