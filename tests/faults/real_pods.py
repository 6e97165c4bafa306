"""`make e2e-faults`: what becomes of real training in real pods when something is killed, lost, full or away.

Two pods of the trainer's image train a tiny leader by DeepSpeed on a real kubelet. Each fault meets a job of its own, once two
checkpoints are written. The job must end in the phase that is documented and count its restarts and disruptions as documented; its
losses, from the first step to the last, and its weights must be those of a job that nothing happened to. Needs root, as every node does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from operator_stage import OperatorProcess, Stage, install, wait_until
from real_site import claim_on, restricted_namespace, write_data, write_tiny_t5
from sro_cluster import images
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.kubelet import NODE_NAME
from sro_cluster.node import Node, obstacle

NAMESPACE = "faults"
STEPS = 40
EVERY = 5
"""Steps between checkpoints."""
STRUCK_AT = 12
"""The step after which a fault comes: two checkpoints are there, and the next is not far."""
OUTAGE_SECONDS = 60.0
SMALL_MIB = 48
FINISH_SECONDS = 420.0
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node with the operator beside it."""

    node: Node
    stage: Stage
    operator: OperatorProcess
    volume: Path
    small: Path
    """A volume of its own, of few MiB."""

    @property
    def kubectl(self) -> Kubectl:
        """As the administrator."""
        return self.stage.kubectl

    def folder(self, job: str) -> Path:
        """A job's output."""
        return (self.small if job == "full-volume" else self.volume) / job

    def rows(self, job: str) -> list[Manifest]:
        """Its metrics of the game, a line that is being written left out."""
        path = self.folder(job) / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        return [row for row in rows if row.get("stage") == "Training"]

    def ranks(self, job: str, attempt: int = 1) -> dict[int, int]:
        """The training processes of an attempt: rank to process id, as this machine counts them."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                variables = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            told = dict(entry.split(b"=", 1) for entry in variables if b"=" in entry)
            host = told.get(b"HOSTNAME", b"").decode()
            if b"--worker" in words and host.startswith(f"{job}-a{attempt}-"):
                found[int(told[b"RANK"])] = int(process.name)
        return found

    def restart(self, name: str, *, pause: float, during: Callable[[], None] = lambda: None) -> None:
        """Kill -9 a component, do something while it is gone, and start it again as it was started."""
        processes = self.node.control_plane.processes
        processes.kill(name)
        begun = time.monotonic()
        during()
        # The outage itself is what is tried, so its length is given.
        time.sleep(max(0.0, pause - (time.monotonic() - begun)))
        processes.start_again(name)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and what is documented to come of it."""

    name: str
    says: str
    strike: Callable[[Site, str], None]
    phase: str = "Complete"
    reasons: tuple[tuple[str, ...], ...] = ()
    """Of the attempts, one after another: each is one of these."""
    restarts: int = 0
    disruptions: int = 0
    changes: Manifest = field(default_factory=dict)
    """Of the job."""
    is_same: bool = True
    """Whether the end must equal the undisturbed one's."""
    at_step: int = STRUCK_AT


TRAINED = ("TrainingComplete",)
FAILED = ("AttemptFailed",)
DISRUPTED = ("AttemptDisrupted",)


def kill(*ranks: int) -> Callable[[Site, str], None]:
    """kill -9 of these ranks, all at the same time."""

    def strike(site: Site, job: str) -> None:
        alive = site.ranks(job)
        for rank in ranks:
            os.kill(alive[rank], signal.SIGKILL)

    return strike


def evict(site: Site, job: str) -> None:
    """As a drained node does."""
    pod = site.stage.pods(1, job)[1]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    site.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def lose_node(site: Site, job: str) -> None:
    """The node is gone, its kubelet with it; then it comes back under the same name."""
    before = site.ranks(job)

    def during() -> None:
        # The machine itself is down.
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        site.kubectl("delete", "node", NODE_NAME, "--wait=true")
        selector = f"sro.dev/job-name={job},sro.dev/attempt=1"
        wait_until(
            lambda: not site.kubectl.get("pods", "-n", NAMESPACE, "-l", selector)["items"],
            "the pods of the lost node are given up",
        )

    site.restart("kubelet", pause=0.0, during=during)
    site.kubectl("wait", "--for=create", f"node/{NODE_NAME}", "--timeout=120s")


def corrupt(site: Site, job: str) -> None:
    """A bit of the newest checkpoint turns, and then a rank dies."""
    folder = site.folder(job) / "checkpoints"
    newest = max(path for path in folder.iterdir() if path.is_dir() and path.name[-1].isdigit())
    target = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    kill(1)(site, job)


def fill(site: Site, job: str) -> None:
    """The volume is full until the first attempt has failed for it."""
    ballast = site.small / "ballast"
    with ballast.open("wb") as out:
        try:
            while out.write(b"\0" * 65536):
                out.flush()
        except OSError:
            pass
    wait_until(lambda: len(site.stage.status(job)["attempts"]) > 1, "the attempt failed for want of room")
    ballast.unlink()


def without_operator(site: Site, job: str) -> None:
    """Nobody operates from the first attempt to long after the last step."""
    site.operator.kill()
    wait_until(lambda: len(site.rows(job)) == STEPS and not site.ranks(job), "the pods have ended by themselves")
    site.operator.start()


FAULTS = (
    Fault(name="rank", says="kill -9 of a rank", strike=kill(1), reasons=(FAILED, TRAINED), restarts=1),
    Fault(name="rank-0", says="kill -9 of rank 0", strike=kill(0), reasons=(FAILED, TRAINED), restarts=1),
    Fault(name="all-ranks", says="kill -9 of all ranks at once", strike=kill(0, 1), reasons=(FAILED, TRAINED), restarts=1),
    Fault(name="kubelet", says="kill -9 of the kubelet, back after 20 s", reasons=(TRAINED,),
          strike=lambda site, _: site.restart("kubelet", pause=20.0)),
    Fault(name="node", says="node deleted and its processes gone, back later", strike=lose_node,
          reasons=(DISRUPTED, TRAINED), disruptions=1),
    Fault(name="eviction", says="eviction of a pod", strike=evict, reasons=(DISRUPTED, TRAINED), disruptions=1),
    Fault(name="memory", says="memory limit below what training needs", strike=lambda *_: None, phase="Failed",
          reasons=(("OutOfMemory",), ("OutOfMemory",)), restarts=1, is_same=False, at_step=0,
          changes={"runPolicy": {"maxRestarts": 1}, "limit": "260Mi"}),
    Fault(name="full-volume", says="volume full, room again after the attempt failed", strike=fill,
          reasons=(FAILED, TRAINED), restarts=1),
    Fault(name="corrupt", says="a bit of the newest checkpoint turned, then kill -9 of a rank", strike=corrupt,
          reasons=(FAILED, TRAINED), restarts=1),
    Fault(name="api-server", says=f"API server gone for {OUTAGE_SECONDS:.0f} s", reasons=(TRAINED,),
          strike=lambda site, _: site.restart("kube-apiserver", pause=OUTAGE_SECONDS)),
    Fault(name="operator", says="operator gone from the first step to after the last", strike=without_operator,
          reasons=(TRAINED,), at_step=1),
)  # fmt: skip


def job_of(name: str, image: str, changes: Manifest) -> Manifest:
    """A job that trains the tiny T5 with full weights in two pods."""
    claim = "sro-small" if name == "full-volume" else "sro-data"
    limits = {"memory": changes["limit"]} if "limit" in changes else {}
    return {
        "leader": {
            "model": "pvc://sro-data/models/tiny-t5", "dtype": "float32", "maxNewTokens": 12, "maxSourceTokens": 64,
            "adapter": {"type": "Full"},
        },
        "guards": {"similarity": None, "fluency": None, "requireEos": False},
        "evaluation": {"similarity": None, "fluency": None},
        "data": {
            "toxic": {"uri": "pvc://sro-data/toxic.tsv", "column": "toxic", "maxRows": 400},
            "neutral": {"uri": "pvc://sro-data/neutral.txt", "maxRows": 400},
            "evaluationRows": 16,
        },
        "optimization": {"steps": STEPS, "batchSize": 8, "checkpointEverySteps": EVERY},
        "deepspeed": {"zeroStage": 2},
        "compute": {
            "nodes": 2, "image": image, "imagePullPolicy": "Never",
            "resources": {"requests": {"cpu": "200m", "memory": "200Mi"}, "limits": limits},
        },
        "output": {"uri": f"pvc://{claim}/{name}"},
        **{key: value for key, value in changes.items() if key != "limit"},
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class End:
    """How a job ended."""

    losses: tuple[float, ...]
    weights: str

    @classmethod
    def of(cls, site: Site, job: str) -> End:
        """Read it from the volume. Of a step that was done again after a resume the last row counts."""
        by_step = {row["step"]: row["loss"] for row in site.rows(job)}
        model = site.folder(job) / "model" / "model.safetensors"
        digest = hashlib.sha256(model.read_bytes()).hexdigest() if model.exists() else ""
        return cls(losses=tuple(by_step[step] for step in sorted(by_step)), weights=digest)


def train(site: Site, fault: Fault | None, image: str) -> Manifest:
    """Run one job, strike it, and wait for its end; its status."""
    name = fault.name if fault else "undisturbed"
    site.stage.submit(name, **job_of(name, image, fault.changes if fault else {}))
    if fault is not None:
        wait_until(
            lambda: len(site.rows(name)) >= fault.at_step, f"step {fault.at_step} of {name}",
            lambda: json.dumps(site.stage.status(name), indent=1),
        )  # fmt: skip
        fault.strike(site, name)
    deadline = time.monotonic() + FINISH_SECONDS
    while True:
        try:
            status = site.stage.status(name)
        except Exception:  # noqa: BLE001 - the API server may be what is gone
            status = {}
        if status.get("phase") in ("Complete", "Failed") or time.monotonic() > deadline:
            return status
        time.sleep(0.5)


def problems_of(fault: Fault, status: Manifest, end: End, clean: End) -> list[str]:
    """In what the end differs from what is documented."""
    found = []
    if status.get("phase") != fault.phase:
        found.append(f"phase {status.get('phase')}, expected {fault.phase}")
    reasons = [attempt.get("reason") for attempt in status.get("attempts", ())]
    if len(reasons) != len(fault.reasons) or any(
        one not in each for one, each in zip(reasons, fault.reasons, strict=False)
    ):
        found.append(f"attempts {reasons}, expected {[' or '.join(each) for each in fault.reasons]}")
    counts = (status.get("restarts", 0), status.get("disruptions", 0))
    if counts != (fault.restarts, fault.disruptions):
        found.append(f"restarts and disruptions {counts}, expected {(fault.restarts, fault.disruptions)}")
    if fault.is_same and end.losses != clean.losses:
        pairs = enumerate(zip(end.losses, clean.losses, strict=False), 1)
        first = next((step for step, (one, other) in pairs if one != other), "its length")
        found.append(f"losses differ from {first} on")
    if fault.is_same and (not end.weights or end.weights != clean.weights):
        found.append("weights differ")
    return found


def play(site: Site, image: str, only: list[str]) -> int:
    """Run everything; the number of faults that did not end as documented."""
    status = train(site, None, image)
    clean = End.of(site, "undisturbed")
    assert (status.get("phase"), len(clean.losses), bool(clean.weights)) == ("Complete", STEPS, True), status
    print(f"undisturbed: Complete, {STEPS} losses, {clean.losses[0]:.6f} to {clean.losses[-1]:.6f}", flush=True)
    rows, failures = [], 0
    for fault in FAULTS:
        if only and fault.name not in only:
            continue
        begun = time.monotonic()
        status = train(site, fault, image)
        end = End.of(site, fault.name)
        problems = problems_of(fault, status, end, clean)
        failures += bool(problems)
        attempts = status.get("attempts", ())
        resumed = [str(attempt.get("resumedFromStep", 0)) for attempt in attempts[1:]]
        same = "losses and weights equal" if fault.is_same and not problems else "-" if not fault.is_same else ""
        seen = "; ".join(problems) or f"{status['phase']}; {', '.join(str(each.get('reason')) for each in attempts)}"
        counted = f"{status.get('restarts', 0)} / {status.get('disruptions', 0)}"
        expected = f"{fault.phase}; {', '.join('/'.join(each) for each in fault.reasons)}"
        rows.append(
            f"| {fault.says} | {expected} | {seen} | {counted} | {', '.join(resumed) or '-'} | {same} | "
            f"{time.monotonic() - begun:.0f} |"
        )
        print(f"{'FAIL' if problems else 'ok'} {rows[-1]}", flush=True)
        if problems:
            print(json.dumps(status, indent=1), flush=True)
        site.kubectl("delete", "srojob", fault.name, "-n", NAMESPACE)
        selector = f"sro.dev/job-name={fault.name}"
        wait_until(
            lambda selector=selector: not site.kubectl.get("pods", "-n", NAMESPACE, "-l", selector)["items"],  # type: ignore[misc]
            "its pods are gone",
        )
    head = "| fault | expected | seen | restarts / disruptions | resumed from | against the undisturbed run | s |"
    print("", head, "|---|---|---|---|---|---|---|", *rows, f"faults {len(rows)}, failed {failures}", sep="\n")
    return failures


def main() -> int:
    """0 if every fault ended as documented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], choices=[fault.name for fault in FAULTS])
    options = parser.parse_args()
    if why_not := obstacle():
        sys.exit(why_not)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sro-real-faults-")))
        folder.chmod(0o755)
        volume, small = folder / "volume", folder / "small"
        for each in (volume, small):
            each.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "sro-small", small], check=True)
        stack.callback(subprocess.run, ["umount", "-l", str(small)], check=True)
        write_data(volume)
        texts = (volume / "neutral.txt").read_text(encoding="utf-8").splitlines()[:2000]
        write_tiny_t5(volume / "models" / "tiny-t5", texts)
        for each in (volume, small):
            # Written by the trainer's user, who is not root and owns neither.
            each.chmod(0o777)
        node = stack.enter_context(Node(folder / "node"))
        images.build_images((images.TRAINER,))
        images.load_images(node.containerd, (images.TRAINER.reference,))
        kubectl = kubectl_of(node.binaries, node.kubeconfig)
        kubeconfig = install(node.control_plane, kubectl)
        kubectl.apply(
            [restricted_namespace(NAMESPACE), *claim_on(volume, NAMESPACE), *claim_on(small, NAMESPACE, "sro-small")]
        )
        operator = stack.enter_context(OperatorProcess(kubeconfig=kubeconfig, log=folder / "operator.log"))
        site = Site(
            node=node, stage=Stage(kubectl=kubectl, namespace=NAMESPACE), operator=operator, volume=volume, small=small
        )
        return int(play(site, images.TRAINER.reference, options.only) > 0)


if __name__ == "__main__":
    sys.exit(main())
