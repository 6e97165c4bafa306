"""GGUF files, opened once per process: transformers opens one anew for its configuration, its tokenizer and its weights."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gguf
import numpy as np

_name_map = functools.lru_cache(maxsize=4)(gguf.get_tensor_name_map)


@contextmanager
def opened_once() -> Iterator[None]:
    """While this is entered, transformers gets the reader of a file that is already open, and each table of tensor names once.

    Reading the 100,000 strings of a vocabulary takes gguf-py seconds, and transformers builds the table of names once for every
    submodule of a model. Neither offers a place to put what is known, so the two names of the package are put aside.
    """
    former = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = _reader, _name_map
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = former


def _reader(path: str | os.PathLike[str]) -> gguf.GGUFReader:
    stat = os.stat(path)
    return _opened(os.fspath(path), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)
def _opened(path: str, _changed_ns: int, _size: int) -> gguf.GGUFReader:
    return _QuickReader(path)


class _QuickReader(gguf.GGUFReader):
    """The mapped file as a plain array: slicing numpy's memmap class runs Python code, and here it is sliced 400,000 times."""

    @property
    def data(self) -> Any:
        """The file's bytes."""
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)
