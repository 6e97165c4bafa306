"""What whole jobs in real pods need: a restricted namespace, a volume claim with data, a tiny model, a watch on the jobs."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sro_cluster.client import Kubectl

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A namespace that enforces the restricted Pod Security Standard, with a claim that every pod can mount."""

    kubectl: Kubectl
    namespace: str
    volume: Path
    """Folder on this machine that the claim `sro-data` is made of."""

    def status(self, name: str) -> Manifest:
        """`status` of an SROJob."""
        found: Manifest = self.kubectl.get("srojob", name, "-n", self.namespace).get("status", {})
        return found

    def is_finished(self, name: str) -> bool:
        """Whether the SROJob is Complete or Failed."""
        return self.status(name).get("phase") in ("Complete", "Failed")

    def apply(self, job: Manifest) -> None:
        """Apply an SROJob as a user does."""
        self.kubectl.apply(
            [{**job, "metadata": {**job["metadata"], "namespace": self.namespace}}], field_manager="user"
        )


class Watch:
    """`kubectl get sro -w` of a namespace, line by line into a file, while the block runs."""

    def __init__(self, site: Site, file: Path) -> None:
        self._site, self.file = site, file
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        kubectl = self._site.kubectl
        command: list[str | Path] = [
            kubectl.program,
            f"--kubeconfig={kubectl.kubeconfig}",
            "get",
            "sro",
            "-n",
            self._site.namespace,
            "-w",
        ]
        with self.file.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def lines(self, name: str) -> list[str]:
        """What it printed about one job, repetitions left out."""
        seen = [
            line
            for line in self.file.read_text(encoding="utf-8").splitlines()
            if line.startswith((f"{name} ", "NAME "))
        ]
        return [line for index, line in enumerate(seen) if index == 0 or line != seen[index - 1]]


def restricted_namespace(name: str) -> Manifest:
    """A namespace in which only pods of the restricted Pod Security Standard may be made."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim_on(folder: Path, namespace: str, name: str = "sro-data") -> list[Manifest]:
    """A volume that is a folder of the node, and the claim that gets it."""
    size = {"storage": "20Gi"}
    modes = ["ReadWriteMany"]
    reference = {"namespace": namespace, "name": name}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": reference,
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": reference,
        "spec": {
            "accessModes": modes,
            "storageClassName": "",
            "volumeName": f"{namespace}-{name}",
            "resources": {"requests": size},
        },
    }
    return [volume, claim]


def write_data(folder: Path) -> None:
    """`toxic.tsv` (column toxic), `toxic.txt` and `neutral.txt`: ParaDetox and its companions, else our own corpus."""
    corpus = ROOT / "examples" / "data"
    (folder / "toxic.txt").write_bytes((corpus / "toxic.txt").read_bytes())
    if (SHARED / "paradetox.tsv").exists():
        (folder / "toxic.tsv").write_bytes((SHARED / "paradetox.tsv").read_bytes())
        (folder / "neutral.txt").write_bytes((SHARED / "dev_normal.txt").read_bytes())
        return
    with (folder / "toxic.tsv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows.writerow(["toxic"])
        rows.writerows([line] for line in (corpus / "toxic.txt").read_text(encoding="utf-8").splitlines())
    (folder / "neutral.txt").write_bytes((corpus / "neutral.txt").read_bytes())


def write_tiny_t5(folder: Path, texts: list[str]) -> None:
    """A T5 of random weights with a tokenizer trained on these texts, as a transformers checkpoint."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"]))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(fast), d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    for file in folder.iterdir():
        # safetensors writes 0600, and the trainer does not run as root.
        file.chmod(0o644)
