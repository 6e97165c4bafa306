"""Running helm on the chart, the sets of values that the tests try, and finding objects in the result."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Values = dict[str, Any]

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "sro-operator"
RELEASE, NAMESPACE = "demo", "sro-system"
FULL_NAME = "demo-sro-operator"


class RenderError(Exception):
    """helm refused the chart or its values, in helm's words."""


@dataclass(frozen=True)
class Helm:
    """The helm program, working without a cluster."""

    program: Path

    def template(self, values: Values, *, release: str = RELEASE) -> list[Manifest]:
        """The objects of the chart.

        Raises:
            RenderError: helm refused.
        """
        command = ("template", release, CHART, "-n", NAMESPACE, "-f", "-", *_API_VERSIONS)
        documents = yaml.safe_load_all(self.run(*command, stdin=yaml.safe_dump(values)))
        return [document for document in documents if document]

    def notes(self, values: Values) -> str:
        """What `helm install` would print at its end."""
        command = ("install", RELEASE, CHART, "-n", NAMESPACE, "--dry-run=client", "-f", "-")
        _, _, notes = self.run(*command, stdin=yaml.safe_dump(values)).partition("NOTES:\n")
        return notes

    def run(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Output of `helm ARGUMENTS`.

        Raises:
            RenderError: it failed.
        """
        done = subprocess.run([self.program, *arguments], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RenderError(done.stderr + done.stdout)
        return done.stdout


_API_VERSIONS = ("--api-versions", "monitoring.coreos.com/v1")

EVERYTHING: Values = {
    "scope": "cluster",
    "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "trainer": {
        "image": {"repository": "registry.example/trainer", "tag": "2.0.0", "digest": f"sha256:{'1' * 64}"},
        "defaultMemoryMib": 1_048_576,
    },
    "operator": {"logLevel": "DEBUG", "restartBaseSeconds": 0.5, "resyncSeconds": 30, "concurrency": 1},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    "crds": {"annotations": {"example.com/note": "here"}},
    "serviceAccount": {"annotations": {"example.com/role": "operator"}},
    "rbac": {"finalizers": True},
    "admissionPolicy": {"exemptServiceAccounts": ["velero:velero"]},
    "podLabels": {"team": "safety"},
    "podAnnotations": {"example.com/scrape": "true"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
                ]
            }
        }
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {},
        }
    ],
    "priorityClassName": "system-cluster-critical",
    "metrics": {
        "service": {"port": 9090, "annotations": {"example.com/note": "here"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    },
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {
        "enabled": True,
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "apiServerCidrs": ["10.96.0.1/32"],
    },
}
VALUE_SETS: dict[str, Values] = {
    "defaults": {},
    "everything": EVERYTHING,
    "namespaced": {"scope": "namespaced"},
    "two namespaces": {
        "scope": "namespaced",
        "watchNamespaces": ["team-a", "team-b"],
        "networkPolicy": {"enabled": True},
    },
    "as little as can be": {
        "crds": {"enabled": False},
        "serviceAccount": {"create": False, "name": "mine"},
        "rbac": {"create": False},
        "userRoles": {"create": False},
        "admissionPolicy": {"enabled": False},
        "metrics": {"service": {"enabled": False}},
        "podDisruptionBudget": {"enabled": False},
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
        "replicas": 0,
        "resources": {"requests": {"cpu": None, "memory": None}, "limits": {"cpu": None, "memory": None}},
    },
    "other names": {"nameOverride": "trainer-operator", "crds": {"keep": False}},
}


def of_kind(objects: Iterable[Manifest], kind: str) -> list[Manifest]:
    """The objects of one kind."""
    return [each for each in objects if each["kind"] == kind]


def only(objects: Iterable[Manifest], kind: str) -> Manifest:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def operator_container(objects: Iterable[Manifest]) -> Manifest:
    """The operator's container."""
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(objects: Iterable[Manifest]) -> dict[str, str]:
    """The operator's environment variables."""
    return {variable["name"]: variable.get("value", "") for variable in operator_container(objects)["env"]}
