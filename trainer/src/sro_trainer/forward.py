"""The forward of a classifier: token ids in, logits out, whatever computes it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]


class Forward(Protocol):
    """A frozen network."""

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Logits of a padded batch.

        Args:
            input_ids: shape (rows, width).
            attention_mask: 1 for a token, 0 for padding, shape (rows, width).

        Returns:
            Logits, shape (rows, labels).
        """
        ...


class TorchForward:
    """A transformers classifier in float32, on the device that it is on."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.no_grad()
    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        device = self._model.device
        ids, mask = (torch.from_numpy(array).to(device) for array in (input_ids, attention_mask))
        logits: Logits = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return logits
