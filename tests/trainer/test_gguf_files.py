"""A GGUF file is opened once, and again only when it has changed."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from sro_trainer.gguf_files import opened_once


def _write(path: Path, words: list[str]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(words)
    writer.add_tensor("token_embd.weight", np.arange(8, dtype=np.float32).reshape(2, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokens(reader: gguf.GGUFReader) -> list[str]:
    field = reader.fields["tokenizer.ggml.tokens"]
    return [bytes(field.parts[index]).decode() for index in field.data]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    _write(path, ["rude", "kind"])
    return path


def test_what_is_read_is_what_the_package_reads(file: Path) -> None:
    plain = gguf.GGUFReader(file)
    with opened_once():
        quick = gguf.GGUFReader(file)
    assert type(quick) is not type(plain)
    assert _tokens(quick) == _tokens(plain) == ["rude", "kind"]
    assert list(quick.fields) == list(plain.fields)
    np.testing.assert_array_equal(quick.tensors[0].data, plain.tensors[0].data)


def test_a_file_is_opened_once(file: Path) -> None:
    with opened_once():
        first = gguf.GGUFReader(file)
    with opened_once():
        assert gguf.GGUFReader(file) is first


def test_a_file_that_has_changed_is_opened_anew(file: Path) -> None:
    with opened_once():
        gguf.GGUFReader(file)
    other = file.with_name("other.gguf")
    _write(other, ["mild", "calm", "fair"])
    os.replace(other, file)
    with opened_once():
        assert _tokens(gguf.GGUFReader(file)) == ["mild", "calm", "fair"]


def test_the_package_is_left_as_it_was(file: Path) -> None:
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    with pytest.raises(OSError, match="absent"), opened_once():
        gguf.GGUFReader(file.with_name("absent"))
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
