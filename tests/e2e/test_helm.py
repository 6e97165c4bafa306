"""The chart is installed, upgraded, uninstalled and installed again on a real API server, with jobs present.

No kubelet runs here: the operator's pod is admitted and never starts, which is what an operator that is down looks like.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chart"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from chart_release import Releases, sro_job
from chart_rendering import CHART, Manifest, environment
from sro_api.v1alpha1 import SROJob
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError
from sro_operator.desired import desired_children
from sro_operator.settings import OperatorSettings

pytestmark = pytest.mark.e2e

CRD = "customresourcedefinition/srojobs.sro.dev"
NAME, NAMESPACE = "sro-operator", "sro-system"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A cluster of this module's own: releases own cluster-wide objects that other tests use too."""
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """`kubectl` as the administrator of that cluster, whose operator is to live in a restricted namespace."""
    administrator = kubectl_of(control_plane.binaries, control_plane.kubeconfig)
    administrator("create", "namespace", NAMESPACE)
    administrator("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    return administrator


@pytest.fixture
def releases(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[Releases]:
    """`helm` on a cluster without a release. What a test installed is uninstalled after it, which leaves the definition."""
    helm = Releases(program=control_plane.binaries / "helm", kubeconfig=control_plane.kubeconfig)
    yield helm
    for namespace, name in (each.split("/") for each in helm.names()):
        helm.uninstall(name, namespace)


@pytest.fixture
def no_definition(releases: Releases, kubectl: Kubectl) -> Iterator[None]:
    """The cluster knows no SROJob, neither before the test nor after it."""
    kubectl("delete", CRD, "--ignore-not-found", "--timeout=60s")
    yield
    for namespace, name in (each.split("/") for each in releases.names()):
        releases.uninstall(name, namespace)
    kubectl("delete", CRD, "--ignore-not-found", "--timeout=60s")


def start_job(kubectl: Kubectl, namespace: str) -> str:
    """Make a namespace with an SROJob that has an attempt running, as the operator would leave it; its uid."""
    kubectl("create", "namespace", namespace)
    kubectl.wait_for_crd()
    kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(sro_job(namespace)))
    created = kubectl.get("srojob", "tiny", "-n", namespace)
    # A namespace is deleted no sooner than its pods may take to end.
    settings = OperatorSettings(termination_grace_seconds=1)
    children = desired_children(SROJob.model_validate(created), settings, 1)
    kubectl.apply([*children.supports, children.job], field_manager="sro-operator")
    kubectl("wait", "--for=create", "pod", "-l", "sro.dev/job-name=tiny", "-n", namespace, "--timeout=30s")
    return str(created["metadata"]["uid"])


def job_is_untouched(kubectl: Kubectl, namespace: str, uid: str) -> bool:
    """Whether the SROJob is the same one, wanted, and its attempt still has its pod."""
    metadata = kubectl.get("srojob", "tiny", "-n", namespace)["metadata"]
    pods = kubectl.get("pods", "-l", "sro.dev/job-name=tiny", "-n", namespace)["items"]
    wanted = not any("deletionTimestamp" in each["metadata"] for each in pods) and "deletionTimestamp" not in metadata
    return bool(metadata["uid"] == uid and len(pods) == 1 and wanted)


def leftovers(kubectl: Kubectl) -> list[str]:
    """Objects of the release that are in the cluster."""
    kinds = "deployment,replicaset,pod,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,crd"
    policies = "networkpolicy,pdb,secret,configmap,validatingadmissionpolicy,validatingadmissionpolicybinding"
    label = f"app.kubernetes.io/instance={NAME}"
    return kubectl("get", f"{kinds},{policies}", "-A", "-l", label, "-o", "name").split()


def test_the_operators_pod_is_admitted_to_a_restricted_namespace(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    label = f"app.kubernetes.io/instance={NAME}"
    kubectl("wait", "--for=create", "pod", "-l", label, "-n", NAMESPACE, "--timeout=30s")


def test_an_install_makes_the_api_known_and_its_policy_free_of_type_errors(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(NAME, NAMESPACE)
    kubectl.wait_for_crd()
    conditions = {each["type"]: each["status"] for each in kubectl.get(CRD)["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}
    policy = f"validatingadmissionpolicy/{NAME}-status"
    kubectl("wait", "--for=jsonpath={.status.observedGeneration}=1", policy, "--timeout=30s")
    assert kubectl.get(policy)["status"].get("typeChecking", {}) == {}


def test_a_strict_client_knows_every_field_that_the_chart_sets(releases: Releases, kubectl: Kubectl) -> None:
    rendered = releases(
        "template", NAME, CHART, "-n", "default", "--set", "networkPolicy.enabled=true,podDisruptionBudget.enabled=true"
    )
    accepted = kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=rendered,
    )
    assert "networkpolicy.networking.k8s.io/sro-operator serverside-applied" in accepted


def test_an_upgrade_changes_the_operator_and_no_job(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "upgraded")
    releases.upgrade(NAME, NAMESPACE, {"operator": {"logLevel": "DEBUG"}, "podDisruptionBudget": {"enabled": True}})
    deployment = kubectl.get("deployment", NAME, "-n", NAMESPACE)
    assert environment([deployment])["SRO_LOG_LEVEL"] == "DEBUG"
    assert kubectl.get("pdb", NAME, "-n", NAMESPACE)["spec"]["maxUnavailable"] == 1
    assert job_is_untouched(kubectl, "upgraded", uid)


def test_an_upgrade_can_keep_the_values_that_were_given_before(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE, {"operator": {"logLevel": "ERROR"}})
    releases.upgrade(NAME, NAMESPACE, {"operator": {"concurrency": 3}}, flags=("--reset-then-reuse-values",))
    told = environment([kubectl.get("deployment", NAME, "-n", NAMESPACE)])
    assert (told["SRO_LOG_LEVEL"], told["SRO_CONCURRENCY"]) == ("ERROR", "3")


def test_an_upgrade_brings_a_newer_definition_and_a_rollback_takes_it_back(
    releases: Releases, kubectl: Kubectl, tmp_path: Path
) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "newer-definition")
    newer = Path(shutil.copytree(CHART, tmp_path / "chart"))
    template = newer / "templates" / "crd.yaml"
    template.write_text(
        template.read_text(encoding="utf-8").replace("- training\n", "- training\n    - safety\n"), encoding="utf-8"
    )
    releases.upgrade(NAME, NAMESPACE, chart=newer)
    assert kubectl.get(CRD)["spec"]["names"]["categories"] == ["all", "training", "safety"]
    releases("rollback", NAME, "-n", NAMESPACE)
    assert kubectl.get(CRD)["spec"]["names"]["categories"] == ["all", "training"]
    assert job_is_untouched(kubectl, "newer-definition", uid)


def test_an_uninstall_leaves_the_definition_the_jobs_and_nothing_else(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "bereft")
    assert len(leftovers(kubectl)) > 5
    assert "[CustomResourceDefinition] srojobs.sro.dev" in releases.uninstall(NAME, NAMESPACE)
    kubectl.wait_until(lambda: len(leftovers(kubectl)) == 1, seconds=30, what="only the definition is left")
    assert leftovers(kubectl) == ["customresourcedefinition.apiextensions.k8s.io/srojobs.sro.dev"]
    assert job_is_untouched(kubectl, "bereft", uid)


def test_a_job_can_be_deleted_after_an_uninstall(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    start_job(kubectl, "deleting")
    releases.uninstall(NAME, NAMESPACE)
    kubectl("delete", "srojob", "tiny", "-n", "deleting", "--timeout=30s")
    children = ("get", "job,pod,service,serviceaccount", "-n", "deleting", "-o", "name")
    label = ("-l", "sro.dev/job-name=tiny")
    kubectl.wait_until(lambda: not kubectl(*children, *label), seconds=120, what="the job's children are gone")


def test_a_namespace_can_be_deleted_after_an_uninstall(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    start_job(kubectl, "leaving")
    releases.uninstall(NAME, NAMESPACE)
    kubectl("delete", "namespace", "leaving", "--timeout=180s")
    with pytest.raises(ClusterError, match='namespaces "leaving" not found'):
        kubectl("get", "namespace", "leaving")


def test_a_release_whose_namespace_was_deleted_can_be_installed_again(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "orphaned")
    kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    assert releases.names() == []
    releases.install(NAME, NAMESPACE)
    assert job_is_untouched(kubectl, "orphaned", uid)


def test_what_a_deleted_namespace_leaves_behind_can_be_cleared_up(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    cluster_wide = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    kubectl("delete", cluster_wide, "--selector", f"app.kubernetes.io/instance={NAME}")
    assert leftovers(kubectl) == ["customresourcedefinition.apiextensions.k8s.io/srojobs.sro.dev"]


def test_a_second_install_adopts_the_definition_that_the_first_left(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "adopted")
    releases.uninstall(NAME, NAMESPACE)
    releases.install(NAME, NAMESPACE)
    assert releases.names() == [f"{NAMESPACE}/{NAME}"]
    assert job_is_untouched(kubectl, "adopted", uid)
    releases.upgrade(NAME, NAMESPACE, {"crds": {"annotations": {"example.com/owner": "us"}}})
    assert kubectl.get(CRD)["metadata"]["annotations"]["example.com/owner"] == "us"


@pytest.mark.usefixtures("no_definition")
def test_a_release_of_another_name_must_say_that_it_takes_the_definition_over(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(NAME, NAMESPACE)
    uid = start_job(kubectl, "taken-over")
    releases.uninstall(NAME, NAMESPACE)
    with pytest.raises(ClusterError, match='current value is "sro-operator"'):
        releases.install("another", "elsewhere")
    releases.install("another", "elsewhere", flags=("--take-ownership",))
    assert kubectl.get(CRD)["metadata"]["annotations"]["meta.helm.sh/release-name"] == "another"
    assert job_is_untouched(kubectl, "taken-over", uid)


@pytest.mark.usefixtures("no_definition")
@pytest.mark.parametrize("server_side", [True, False], ids=["kubectl apply --server-side", "kubectl create"])
def test_a_definition_made_by_hand_can_be_taken_over(
    releases: Releases, kubectl: Kubectl, *, server_side: bool
) -> None:
    path = str(CHART.parents[1] / "crds" / "srojobs.sro.dev.yaml")
    kubectl(*(("apply", "--server-side") if server_side else ("create",)), "-f", path)
    with pytest.raises(ClusterError, match="invalid ownership metadata"):
        releases.install(NAME, NAMESPACE)
    releases.install(NAME, NAMESPACE, flags=("--take-ownership", "--force-conflicts"))
    assert kubectl.get(CRD)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.usefixtures("no_definition")
def test_without_the_keep_policy_an_uninstall_takes_the_definition_and_the_jobs(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(NAME, NAMESPACE, {"crds": {"keep": False}})
    start_job(kubectl, "swept")
    releases.uninstall(NAME, NAMESPACE)
    kubectl("wait", "--for=delete", CRD, "--timeout=60s")
    with pytest.raises(ClusterError, match="could not find the requested resource"):
        kubectl("get", "--raw", "/apis/sro.dev/v1alpha1/namespaces/swept/srojobs")


@pytest.mark.usefixtures("no_definition")
def test_everything_can_be_removed_down_to_the_last_pod(releases: Releases, kubectl: Kubectl) -> None:
    releases.install(NAME, NAMESPACE)
    start_job(kubectl, "wound-up")
    releases.uninstall(NAME, NAMESPACE)
    kubectl("delete", "srojobs", "--all", "--all-namespaces", "--cascade=foreground", "--timeout=240s")
    assert kubectl("get", "job,pod,service", "-n", "wound-up", "-o", "name") == ""
    kubectl("delete", CRD, "--timeout=60s")
    assert leftovers(kubectl) == []


def test_a_namespaced_operator_has_rights_in_its_namespaces_alone(releases: Releases, kubectl: Kubectl) -> None:
    for namespace in ("team-a", "team-b", "team-c"):
        kubectl("create", "namespace", namespace)
    releases.install(NAME, NAMESPACE, {"scope": "namespaced", "watchNamespaces": ["team-a", "team-b"]})
    account = f"system:serviceaccount:{NAMESPACE}:{NAME}"

    def may(verb: str, resource: str, namespace: str) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": account, "resourceAttributes": {"verb": verb, "namespace": namespace, **_named(resource)}},
        }
        answer = kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}", stdin=json.dumps(review))
        return answer == "true"

    assert [may("list", "sro.dev/srojobs", namespace) for namespace in ("team-a", "team-b", "team-c", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert [may("create", "batch/jobs", namespace) for namespace in ("team-a", "team-b", NAMESPACE)] == [
        True,
        True,
        False,
    ]
    assert [may(verb, "/secrets", "team-a") for verb in ("get", "list", "watch", "create")] == [False] * 4


def _named(resource: str) -> Manifest:
    group, _, name = resource.partition("/")
    return {"group": group, "resource": name}
