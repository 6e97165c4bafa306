"""Similarity of two texts: the cosine of their mean-pooled sentence embeddings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from sro_api.sources import Roots
from sro_api.training import SimilaritySpec
from sro_screener import Encoder
from sro_trainer.errors import unreadable
from sro_trainer.sequence_classifier import load_encoder
from sro_trainer.sources_io import resolve_model

BATCH_TOKENS = 4096
"""Padded tokens per forward."""
REMEMBERED = 65_536
"""Embeddings kept: sources come back every epoch, each paraphrase but once."""

_FIELD = "spec.guards.similarity.model"


def build_encoder(spec: SimilaritySpec, roots: Roots, *, field: str = _FIELD) -> SimilarityEncoder:
    """Load the sentence encoder, in float32.

    Args:
        spec: which one.
        roots: where relative and claim URIs start.
        field: the field of the spec to name in an error.

    Raises:
        ConfigurationError: its tokenizer is of a kind that is not supported.
        DataError: there is no encoder at the URI.
    """
    location = resolve_model(spec.model, roots, field=field)
    encoder = load_encoder(location, spec.max_tokens, field)
    with unreadable(f"{field}: {spec.model!r} is no encoder"):
        model = AutoModel.from_pretrained(location.folder, dtype=torch.float32)
    return SimilarityEncoder(model.eval(), encoder)


class SimilarityEncoder:
    """A frozen sentence encoder that remembers what it has read."""

    def __init__(self, model: Any, encoder: Encoder) -> None:
        self._model = model
        self._encoder = encoder
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each text of `a` with the text of `b` at the same place, in [-1, 1], shape (n,)."""
        assert len(a) == len(b)
        if not a:
            return np.zeros(0, dtype=np.float32)
        together = self.embed([*a, *b])
        cosines: NDArray[np.float32] = (together[: len(a)] * together[len(a) :]).sum(axis=1)
        return np.clip(cosines, -1.0, 1.0)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, shape (n, width). Equal texts are read once; known ones not at all."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = dict(zip(unknown, self._read(unknown), strict=True)) if unknown else {}
        embeddings = np.stack([found[text] if text in found else self._known[text] for text in texts])
        self._remember(texts, found)
        return embeddings

    def _remember(self, texts: Sequence[str], found: dict[str, NDArray[np.float32]]) -> None:
        self._known.update(found)
        for text in texts:
            self._known.move_to_end(text)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _read(self, texts: list[str]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] | None = None
        for batch in self._encoder.encode(texts, max_tokens=BATCH_TOKENS):
            pooled = self._pooled(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask()))
            if embeddings is None:
                embeddings = np.empty((len(texts), pooled.shape[1]), dtype=np.float32)
            embeddings[batch.permutation] = pooled
        assert embeddings is not None
        return embeddings

    @torch.no_grad()
    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float32]:
        device = self._model.device
        ids, mask = ids.long().to(device), mask.to(device)
        states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        # A text without any token has an all-zero mask; clamped, its embedding is zero and similar to nothing.
        means = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        pooled: NDArray[np.float32] = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
        return pooled
