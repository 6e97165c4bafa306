"""Other tokenizers that claim exact ids, each through its fastest call from a list of texts to ids, on one thread.

They are in requirements/bench-screener.txt; what is not installed is left out, and said.
"""

import importlib.util
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

Encode = Callable[[list[str]], Any]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One library: how it loads a file, and how its answer becomes lists of ids."""

    distribution: str
    module: str
    load: Callable[[Path], Encode]
    rows: Callable[[Any], list[list[int]]]

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None


def cut(flat: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    rows, start = [], 0
    for length in lengths:
        rows.append([int(id_) for id_ in flat[start : start + length]])
        start += length
    return rows


def _tokie(path: Path) -> Encode:
    import tokie

    tokenizer = tokie.Tokenizer.from_json(str(path))
    return tokenizer.encode_batch_flat


def _iree(path: Path) -> Encode:
    from iree.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda texts: tokenizer.encode_batch_to_array(texts, add_special_tokens=True)


def _gigatoken(path: Path) -> Encode:
    import gigatoken

    tokenizer = gigatoken.Tokenizer.from_json(path.read_bytes())
    return lambda texts: tokenizer.encode_batch(texts, parallel=False)


def _kitoken(path: Path) -> Encode:
    from kitoken import Kitoken

    tokenizer = Kitoken.from_tokenizers_file(str(path))
    return lambda texts: tokenizer.encode_all(texts, True)


def _fastokens(path: Path) -> Encode:
    import fastokens

    tokenizer = fastokens._native.Tokenizer.from_file(str(path))
    return lambda texts: tokenizer.encode_batch_flat(texts, True)


def _fastokens_rows(found: Any) -> list[list[int]]:
    ids, offsets = array("I", found[0]), array("Q", found[1])
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def _flat_rows(found: Any) -> list[list[int]]:
    return cut(found[0], found[1])


def _list_rows(found: Any) -> list[list[int]]:
    return [list(map(int, row)) for row in found]


RIVALS = [
    Rival(distribution="tokie", module="tokie", load=_tokie, rows=_flat_rows),
    Rival(distribution="iree-tokenizer", module="iree", load=_iree, rows=_flat_rows),
    Rival(distribution="gigatoken", module="gigatoken", load=_gigatoken, rows=_list_rows),
    Rival(distribution="kitoken", module="kitoken", load=_kitoken, rows=_list_rows),
    Rival(distribution="fastokens", module="fastokens", load=_fastokens, rows=_fastokens_rows),
]
