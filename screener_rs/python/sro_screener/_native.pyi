from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Literal, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Encoder", "Flat", "Judgements", "NbLogistic", "combine", "judge", "verdicts"]

class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class _Temperature(Protocol):
    @property
    def temperature(self) -> float: ...

class _Platt(Protocol):
    @property
    def slope(self) -> float: ...
    @property
    def intercept(self) -> float: ...

class _Isotonic(Protocol):
    @property
    def scores(self) -> Sequence[float]: ...
    @property
    def probabilities(self) -> Sequence[float]: ...

# A list of str, a NumPy array of such objects, or an Arrow column of string or large_string, which is read where it lies.
_Texts: TypeAlias = Iterable[str] | _ArrowArray | _ArrowStream
_Integers: TypeAlias = NDArray[np.int32] | NDArray[np.int64]

@final
class Encoder:
    """A tokenizer read from `tokenizer.json` with its truncation and padding; frozen, shared between threads.

    Token ids equal those of Hugging Face `tokenizers` 0.23.3. What cannot be reproduced exactly is refused by name.
    The arguments win over the truncation and padding that the file carries.
    """

    @staticmethod
    def from_file(
        path: str | PathLike[str],
        max_length: int | None = 128,
        *,
        truncation_side: Literal["left", "right"] | None = None,
        pad_token_id: int | None = None,
    ) -> Encoder:
        """Read a tokenizer file.

        Args:
            path: the `tokenizer.json`.
            max_length: most tokens of a row, special tokens included; None never cuts.
            truncation_side: the end that is cut off; None: as the file says, or right.
            pad_token_id: fills up short rows; None: from the file's padding, or a token such as `[PAD]` or `<pad>`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no JSON, breaks a rule or asks for what is not supported; the message names the field.
        """

    @staticmethod
    def from_json(
        text: str,
        max_length: int | None = 128,
        *,
        truncation_side: Literal["left", "right"] | None = None,
        pad_token_id: int | None = None,
    ) -> Encoder:
        """The same from the text of such a file."""

    def encode(
        self, texts: _Texts, max_tokens: int = 4096, max_rows: int | None = None, threads: int | None = None
    ) -> list[Batch]:
        """Batches of rows of like length, the longest first; equal lengths keep the callers' order.

        Args:
            texts: the texts, in any order.
            max_tokens: most tokens of a batch, padding included; a longer row is a batch of its own.
            max_rows: most rows of a batch.
            threads: None: the variable SRO_SCREENER_THREADS, or one for each core.

        Raises:
            TypeError: an element is no str; the message names its row.
            ValueError: an element has a lone surrogate, rows need padding and no padding id is known, or a number is
                below 1.
        """

    def encode_flat(
        self,
        texts: _Texts,
        max_tokens: int = 4096,
        max_rows: int | None = None,
        *,
        packed: bool = False,
        dtype: Literal["int32", "int64"] = "int32",
        out: tuple[_Integers, _Integers] | None = None,
        threads: int | None = None,
    ) -> Flat:
        """The batches of `encode` in flat buffers, without an object for each; see `sro_screener.encode_batches`.

        Args:
            texts: the texts, in any order.
            max_tokens: most tokens of a batch; padding counts where there is any.
            max_rows: most rows of a batch.
            packed: rows follow each other without padding.
            dtype: of the ids and of what stands beside them.
            out: arrays of that type, one for the ids and one for what stands beside them, each with room for all tokens;
                None: new ones.
            threads: None: the variable SRO_SCREENER_THREADS, or one for each core.

        Raises:
            TypeError: an element is no str, or a buffer is of another type, read-only or not contiguous.
            ValueError: as of `encode`, or a buffer is too short; the message tells the length that is needed.
        """

    def encode_ids(self, texts: _Texts, threads: int | None = None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All ids in the callers' order, and the offsets: text `i` has `ids[offsets[i]:offsets[i + 1]]`."""

    def encode_pair_ids(
        self, first: Iterable[str], second: Iterable[str], threads: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """All ids of pairs of texts, the segment of each, and the offsets, in the callers' order.

        Of a pair that is longer than `max_length` the longer text is cut first.

        Raises:
            ValueError: one list is longer, the file cuts pairs in another way or does not say how to join them, or
                `max_length` leaves no room.
        """

    @property
    def kind(self) -> Literal["WordPiece", "BPE", "Unigram"]:
        """The kind of model."""

    @property
    def max_length(self) -> int | None:
        """Most tokens of a row, special tokens included."""

    @property
    def truncation_side(self) -> Literal["left", "right"]:
        """The end of a long text that is cut off."""

    @property
    def pad_token_id(self) -> int | None:
        """The id that fills up short rows; None where the tokenizer names none."""

    @property
    def vocab_size(self) -> int:
        """Number of different ids, added tokens included."""

@final
class Batch:
    """Rows of like length, filled up on the right to the longest; `len(batch)` is the number of rows."""

    @property
    def input_ids(self) -> NDArray[np.int32]:
        """Token ids, shape (rows, width)."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row without padding, shape (rows,)."""

    @property
    def permutation(self) -> NDArray[np.int32]:
        """The place of each row in the callers' list, shape (rows,)."""

    def attention_mask(self) -> NDArray[np.int32]:
        """1 for a token, 0 for padding, shape (rows, width); made at each call."""

    def token_type_ids(self) -> NDArray[np.int32]:
        """Segment of each token, 0 for padding, shape (rows, width); made at each call."""

    def __len__(self) -> int: ...

@final
class Flat:
    """All batches of a call, one after the other; of batch `i` the tokens `first_tokens[i]` up to `first_tokens[i + 1]`."""

    @property
    def input_ids(self) -> _Integers:
        """Token ids, shape (tokens,); with the caller's buffers a view of them."""

    @property
    def beside(self) -> _Integers:
        """Of each token: 1, or 0 for padding; in packed batches its position in its row. Shape (tokens,)."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row without padding, shape (rows,)."""

    @property
    def permutation(self) -> NDArray[np.int32]:
        """Of each row, its place in the callers' list, shape (rows,)."""

    @property
    def inverse(self) -> NDArray[np.int32]:
        """Of each place in the callers' list, its row, shape (rows,)."""

    @property
    def cu_seqlens(self) -> NDArray[np.int32] | None:
        """Of each packed batch, where its rows start and its last one ends, shape (rows + batches,); None if padded."""

    @property
    def first_rows(self) -> NDArray[np.int64]:
        """First row of each batch, and the number of rows, shape (batches + 1,)."""

    @property
    def first_tokens(self) -> NDArray[np.int64]:
        """First token of each batch, and the number of tokens, shape (batches + 1,)."""

    @property
    def widths(self) -> NDArray[np.int32]:
        """Tokens of the longest row of each batch, shape (batches,)."""

@final
class NbLogistic:
    """A linear screener over n-grams of words, scored wholly in Rust; frozen, shared between threads."""

    @staticmethod
    def from_parts(
        vocabulary: Iterable[str],
        idf: NDArray[np.float64],
        r: NDArray[np.float64],
        coef: NDArray[np.float64],
        intercept: float,
        *,
        ngram_range: tuple[int, int] = (1, 2),
        lowercase: bool = True,
        strip_accents: Literal["unicode"] | None = "unicode",
        sublinear_tf: bool = True,
    ) -> NbLogistic:
        """Fold what scikit-learn fitted: L2-normalised TF-IDF of `\\\\w\\\\w+` words, times r, times coef.

        Args:
            vocabulary: the n-grams, words joined by one space, in the order of the arrays.
            idf: inverse document frequencies, shape (n-grams,).
            r: naive Bayes log-ratios, shape (n-grams,).
            coef: coefficients of the logistic regression, shape (n-grams,).
            intercept: its intercept.
            ngram_range: least and most words of an n-gram.
            lowercase: apply Python's `str.lower` first.
            strip_accents: None, or `unicode`: NFKD without combining marks.
            sublinear_tf: 1 + ln(count) instead of the count.

        Raises:
            ValueError: lengths differ, a value is not finite, or an n-gram is there twice or too long.
        """

    def score(self, texts: _Texts, threads: int | None = None) -> NDArray[np.float64]:
        """Toxicity of each text in [0, 1]; a text without a known n-gram gets that of the intercept."""

    def verdicts(
        self, texts: _Texts, threshold: float = 0.5, threads: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores, and whether each text passed: a score at or above the threshold fails."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """Of each n-gram, what a text that consists of it alone adds to the logit: coef * r."""

    def __len__(self) -> int: ...

def verdicts(
    logits: NDArray[np.float32] | NDArray[np.float64],
    *,
    label_index: int,
    activation: Literal["softmax", "sigmoid"] = "softmax",
    threshold: float = 0.5,
    permutation: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores and verdicts of classified rows, in the callers' order.

    A score at or above the threshold fails; both are compared as float32, so that the verdict agrees with the score
    that is returned.

    Args:
        logits: shape (rows, labels), as the batches' forwards gave them, one below the other.
        label_index: column of the toxic label.
        activation: `softmax` over all labels, or `sigmoid` of that one.
        threshold: in [0, 1].
        permutation: the place of each row in the callers' list; None: rows are in order.

    Raises:
        TypeError: an array has another type or number of dimensions.
        ValueError: a logit is NaN or infinite (row and column are named), the permutation is no bijection, or an
            argument breaks its rule.
    """

@final
class Judgements:
    """What `judge` says of each text, in the callers' order."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """Of each label, before calibration, shape (n, labels)."""

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of each label, after calibration; the scores themselves where there is none. Shape (n, labels)."""

    @property
    def margins(self) -> NDArray[np.float32]:
        """Threshold minus probability, of several labels the least; above 0 where the text passed. Shape (n,)."""

    @property
    def flags(self) -> NDArray[np.uint32]:
        """Bit i: label i is at or above its threshold, shape (n,)."""

    @property
    def passed(self) -> NDArray[np.bool_]:
        """No label is at or above its threshold, shape (n,)."""

    def __len__(self) -> int: ...

def judge(
    logits: NDArray[np.float32] | NDArray[np.float64],
    *,
    label_indices: Sequence[int],
    thresholds: Sequence[float],
    activation: Literal["softmax", "sigmoid"] = "softmax",
    calibration: _Temperature | _Platt | _Isotonic | None = None,
    permutation: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> Judgements:
    """Scores, calibrated probabilities, margins and verdicts of classified rows, in one pass.

    Args:
        logits: shape (rows, labels of the model).
        label_indices: the columns that mean toxic, 1 to 32 of them; a text fails by any of them.
        thresholds: one for each, in [0, 1]; a probability at or above it fails.
        activation: `softmax` over all columns, or `sigmoid` of each by itself.
        calibration: from scores to probabilities; None: they are the same.
        permutation: the place of each row in the callers' list; None: rows are in order.

    Raises:
        TypeError: an array has another type or number of dimensions, or the calibration is none.
        ValueError: a logit is NaN or infinite (row and column are named), the permutation is no bijection, or an
            argument breaks its rule.
    """

def combine(
    probabilities: Sequence[NDArray[np.float32]],
    *,
    rule: Literal["any", "all", "mean", "weighted"],
    thresholds: Sequence[float],
    weights: Sequence[float] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Probability, margin and verdict of each text by several screeners together.

    Args:
        probabilities: of each screener, shape (n,).
        rule: `any` fails what any screener fails, `all` what all of them fail, each by its own threshold; `mean` and
            `weighted` compare the mean with one threshold.
        thresholds: one for each screener, or the one of the mean.
        weights: one for each screener, for rule `weighted` alone.

    Raises:
        ValueError: a probability is NaN or outside [0, 1] (screener and row are named), or an argument does not fit.
    """
