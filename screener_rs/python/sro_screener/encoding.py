"""All batches of one call in flat buffers, each batch a view of its part: no object for a token or a text.

Torch takes the arrays as they are: `torch.from_numpy` shares their memory, and a tensor's `numpy()` is a buffer to write to.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sro_screener._native import Encoder, Flat

Integers = NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PaddedBatch:
    """Rows of like length, filled up on the right to the longest."""

    input_ids: Integers
    """Shape (rows, width)."""
    attention_mask: Integers
    """1 for a token, 0 for padding, shape (rows, width)."""
    permutation: NDArray[np.int32]
    """The place of each row in the callers' list, shape (rows,)."""

    def tensors(self) -> dict[str, Any]:
        """What a transformers model is called with, as torch tensors on the same memory."""
        import torch

        return {"input_ids": torch.from_numpy(self.input_ids), "attention_mask": torch.from_numpy(self.attention_mask)}


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedBatch:
    """Rows one after the other, without padding."""

    input_ids: Integers
    """Shape (tokens,)."""
    position_ids: Integers
    """Of each token in its row, shape (tokens,)."""
    cu_seqlens: NDArray[np.int32]
    """Where each row starts, and where the last one ends, shape (rows + 1,)."""
    max_seqlen: int
    """Tokens of the longest row."""
    permutation: NDArray[np.int32]
    """The place of each row in the callers' list, shape (rows,)."""

    def tensors(self) -> dict[str, Any]:
        """What a transformers model with variable-length attention is called with, batch dimension 1, on the same memory."""
        import torch

        cu_seqlens = torch.from_numpy(self.cu_seqlens)
        return {
            "input_ids": torch.from_numpy(self.input_ids)[None],
            "position_ids": torch.from_numpy(self.position_ids)[None],
            "cu_seq_lens_q": cu_seqlens,
            "cu_seq_lens_k": cu_seqlens,
            "max_length_q": self.max_seqlen,
            "max_length_k": self.max_seqlen,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """The batches of one call, the longest rows first; a sequence of `PaddedBatch` or of `PackedBatch`."""

    flat: Flat
    """All of them together."""

    @property
    def permutation(self) -> NDArray[np.int32]:
        """The place of each row of all batches in the callers' list, shape (n,)."""
        return self.flat.permutation

    @property
    def inverse(self) -> NDArray[np.int32]:
        """Of each place in the callers' list, its row: `values[encoding.inverse]` is in the callers' order, shape (n,)."""
        return self.flat.inverse

    @property
    def tokens(self) -> int:
        """Length of the buffers, padding included."""
        return int(self.flat.first_tokens[-1])

    def __len__(self) -> int:
        return len(self.flat.widths)

    def __iter__(self) -> Iterator[PaddedBatch | PackedBatch]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> PaddedBatch | PackedBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        flat = self.flat
        first, last = int(flat.first_rows[index]), int(flat.first_rows[index + 1])
        tokens = slice(int(flat.first_tokens[index]), int(flat.first_tokens[index + 1]))
        ids, beside, permutation = flat.input_ids[tokens], flat.beside[tokens], flat.permutation[first:last]
        if flat.cu_seqlens is None:
            shape = (last - first, int(flat.widths[index]))
            return PaddedBatch(
                input_ids=ids.reshape(shape), attention_mask=beside.reshape(shape), permutation=permutation
            )
        return PackedBatch(
            input_ids=ids,
            position_ids=beside,
            cu_seqlens=flat.cu_seqlens[first + index : last + index + 1],
            max_seqlen=int(flat.widths[index]),
            permutation=permutation,
        )


def encode_batches(
    encoder: Encoder,
    texts: Iterable[str] | Any,
    *,
    max_tokens: int = 4096,
    max_rows: int | None = None,
    packed: bool = False,
    dtype: Literal["int32", "int64"] = "int32",
    out: tuple[Any, Any] | None = None,
    threads: int | None = None,
) -> Encoding:
    """Token ids of many texts as model-ready buffers, in one call.

    Args:
        encoder: the tokenizer with its truncation and padding.
        texts: a list of str, an array of such objects, or an Arrow column of strings, which is read where it lies.
        max_tokens: most tokens of a batch, padding included; a longer row is a batch of its own.
        max_rows: most rows of a batch.
        packed: rows follow each other without padding, told apart by `cu_seqlens`.
        dtype: of ids, mask and positions.
        out: two one-dimensional arrays or CPU tensors of that type to write to, for ids and for mask or positions, as
            views of pinned memory; None: new arrays.
        threads: None: the variable SRO_SCREENER_THREADS, or one for each core.

    Raises:
        TypeError, ValueError: as `Encoder.encode_flat` says.
    """
    buffers = None if out is None else (_array(out[0]), _array(out[1]))
    flat = encoder.encode_flat(texts, max_tokens, max_rows, packed=packed, dtype=dtype, out=buffers, threads=threads)
    return Encoding(flat=flat)


def _array(buffer: Any) -> Any:
    return buffer if isinstance(buffer, np.ndarray) else buffer.numpy()
