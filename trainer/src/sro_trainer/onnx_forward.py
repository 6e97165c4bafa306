"""A classifier's forward by ONNX Runtime, in float32 or with weights of 8 bits, made from the checkpoint when a run starts.

The graph is exported once, kept beside the run's screeners and used by every rank and attempt after that. Nothing of it is
believed: before it answers, it is compared with the float32 forward of torch on texts of the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sro_trainer.cores import available_cores
from sro_trainer.forward import Ids, Logits

logger = logging.getLogger(__name__)

Precision = Literal["float32", "int8"]
OPSET = 17


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a forward compares with that of torch in float32, on the same texts."""

    texts: int
    """How many were compared."""
    verdicts: float
    """Share of texts with the same verdict."""
    largest_difference: float
    """Of two scores, in [0, 1]."""

    def __str__(self) -> str:
        return (
            f"{self.verdicts:.2%} of {self.texts} verdicts as in float32, scores within {self.largest_difference:.4f}"
        )


class OnnxForward:
    """A graph that ONNX Runtime computes on the processor."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cores()
        # A thread that spins takes the time of torch's, which samples on the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        logits: Logits = self._session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})[0]
        return logits


def onnx_graph(model: Any, checkpoint: Path, folder: Path, precision: Precision) -> Path:
    """The graph of a checkpoint, made if the folder does not have it.

    Args:
        model: the checkpoint as transformers loaded it, with eager attention.
        checkpoint: its folder; the name of the graph tells its weights.
        folder: where graphs are kept.
        precision: of the weights of matrix products; int8 quantises activations on the way (dynamically), and leaves the
            float32 graph that it is made from beside it.
    """
    path = folder / f"classifier-{precision}-{fingerprint(checkpoint)}.onnx"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        finished = Path(scratch) / "finished.onnx"
        if precision == "int8":
            _quantise(onnx_graph(model, checkpoint, folder, "float32"), finished)
        else:
            _export(model, finished)
        os.replace(finished, path)
    logger.info("classifier exported", extra={"path": str(path), "precision": precision})
    return path


def fingerprint(checkpoint: Path) -> str:
    """Sixteen hexadecimal digits that tell a checkpoint's configuration and weights from others."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.iterdir()):
        if file.name == "config.json" or file.suffix in (".safetensors", ".bin"):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
    return digest.hexdigest()[:16]


class _Logits(torch.nn.Module):
    """The classifier with arrays on both sides, as an exported graph has them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).logits
        return logits


@torch.no_grad()
def _export(model: Any, path: Path) -> None:
    ids = torch.ones((2, 8), dtype=torch.long)
    mask = torch.ones_like(ids)
    # A row with padding, or the mask would be left out of the trace.
    mask[1, 5:] = 0
    axes = {"input_ids": {0: "rows", 1: "width"}, "attention_mask": {0: "rows", 1: "width"}, "logits": {0: "rows"}}
    torch.onnx.export(
        _Logits(model).eval(),
        (ids, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Seven bits: products of eight overflow the 16-bit sums of processors without VNNI. Embeddings stay as they are.
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


def agreement(scores: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], threshold: float) -> Agreement:
    """How two forwards' scores of the same texts compare, n >= 1."""
    same = (scores < threshold) == (reference < threshold)
    return Agreement(
        texts=len(scores), verdicts=float(same.mean()), largest_difference=float(np.abs(scores - reference).max())
    )


def noted(folder: Path, name: str, found: Agreement) -> None:
    """Write the comparison beside the graph."""
    (folder / f"{name}-agreement.json").write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
