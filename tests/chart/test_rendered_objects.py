"""What the chart renders is valid, complete and consistent, for every set of values that the tests know."""

from collections import Counter
from collections.abc import Callable, Iterator

import kubernetes_validate
import pytest

from chart_rendering import (
    CHART,
    EVERYTHING,
    FULL_NAME,
    NAMESPACE,
    RELEASE,
    VALUE_SETS,
    Helm,
    Manifest,
    RenderError,
    environment,
    of_kind,
    only,
    operator_container,
)

Render = Callable[..., list[Manifest]]

_KUBERNETES = ("1.34", "1.35", "1.36", "1.37")
_CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule"}
_CLUSTER_SCOPED = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_all_values = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


@pytest.mark.parametrize("version", _KUBERNETES)
@_all_values
def test_every_object_is_valid_kubernetes(render: Render, values: Manifest, version: str) -> None:
    objects = [each for each in render(values) if each["kind"] not in _CUSTOM_KINDS]
    for each in objects:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_an_object_with_a_misspelt_field_would_not_count_as_valid(render: Render) -> None:
    deployment = only(render(), "Deployment")
    misspelt = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(misspelt, _KUBERNETES[-1], strict=True)


@_all_values
def test_every_object_is_named_once(render: Render, values: Manifest) -> None:
    names = Counter(
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in render(values)
    )
    assert [name for name, count in names.items() if count > 1] == []


@_all_values
def test_every_object_carries_the_labels_of_its_release(render: Render, values: Manifest) -> None:
    wanted = {
        "app.kubernetes.io/name": values.get("nameOverride", "sro-operator"),
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/version": "0.1.0",
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/part-of": "sro",
        "helm.sh/chart": "sro-operator-0.1.0",
    }
    for each in render(values):
        assert wanted.items() <= each["metadata"]["labels"].items(), each["metadata"]["name"]


@_all_values
def test_an_object_has_a_namespace_unless_its_kind_has_none(render: Render, values: Manifest) -> None:
    without = {each["kind"] for each in render(values) if "namespace" not in each["metadata"]}
    assert without <= _CLUSTER_SCOPED
    assert not {each["kind"] for each in render(values) if "namespace" in each["metadata"]} & _CLUSTER_SCOPED


@_all_values
def test_whatever_selects_the_operators_pod_selects_it(render: Render, values: Manifest) -> None:
    objects = render(values)
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = list(_pod_selectors(objects))
    assert selectors
    for kind, selector in selectors:
        assert selector.items() <= labels.items(), kind


def _pod_selectors(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    yield "Deployment", only(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    for each in of_kind(objects, "Service"):
        yield "Service", each["spec"]["selector"]
    for each in of_kind(objects, "PodDisruptionBudget"):
        yield "PodDisruptionBudget", each["spec"]["selector"]["matchLabels"]
    for each in of_kind(objects, "NetworkPolicy"):
        yield "NetworkPolicy", each["spec"]["podSelector"]["matchLabels"]


def test_a_service_monitor_selects_the_metrics_service_and_its_port(render: Render) -> None:
    objects = render(EVERYTHING)
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_every_optional_object_is_there_when_everything_is_switched_on(render: Render) -> None:
    kinds = Counter(each["kind"] for each in render(EVERYTHING))
    assert kinds == {
        "CustomResourceDefinition": 1,
        "ClusterRole": 5,
        "ClusterRoleBinding": 2,
        "ServiceAccount": 1,
        "Deployment": 1,
        "Service": 1,
        "ServiceMonitor": 1,
        "PrometheusRule": 1,
        "ConfigMap": 1,
        "Role": 1,
        "RoleBinding": 1,
        "PodDisruptionBudget": 1,
        "NetworkPolicy": 1,
        "ValidatingAdmissionPolicy": 1,
        "ValidatingAdmissionPolicyBinding": 1,
    }


def test_only_the_deployment_is_left_when_everything_is_switched_off(render: Render) -> None:
    (deployment,) = render(VALUE_SETS["as little as can be"])
    assert deployment["kind"] == "Deployment"
    assert deployment["spec"]["replicas"] == 0
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_default_images_are_those_of_the_app_version(render: Render) -> None:
    assert operator_container(render())["image"] == "docker.io/sro/operator:0.1.0"
    assert environment(render())["SRO_TRAINER_IMAGE"] == "docker.io/sro/trainer:0.1.0"


def test_a_digest_pins_an_image(render: Render) -> None:
    objects = render(EVERYTHING)
    assert operator_container(objects)["image"] == f"docker.io/sro/operator:0.1.0@sha256:{'0' * 64}"
    assert environment(objects)["SRO_TRAINER_IMAGE"] == f"registry.example/trainer:2.0.0@sha256:{'1' * 64}"


def test_two_operators_stand_ready_and_no_upgrade_takes_one_away_first(render: Render) -> None:
    spec = only(render(), "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert only(render(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_operator_pods_go_to_different_nodes_where_that_can_be_had(render: Render) -> None:
    (constraint,) = only(render(), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")


def test_the_operators_of_a_release_elect_by_one_lease_that_their_account_may_write(render: Render) -> None:
    objects = render()
    told = environment(objects)
    (role,) = of_kind(objects, "Role")
    (held, made) = role["rules"]
    assert (role["metadata"]["namespace"], held["resourceNames"]) == (
        told["SRO_LEASE_NAMESPACE"],
        [told["SRO_LEASE_NAME"]],
    )
    assert (held["verbs"], made["verbs"]) == (["get", "update"], ["create"])


def test_probes_and_metrics_use_the_port_that_the_operator_is_told(render: Render) -> None:
    container = operator_container(render())
    (port,) = container["ports"]
    assert str(port["containerPort"]) == environment(render())["SRO_HTTP_PORT"]
    paths = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/healthz", "port": port["name"]},
        "livenessProbe": {"path": "/healthz", "port": port["name"]},
        "readinessProbe": {"path": "/readyz", "port": port["name"]},
    }
    assert only(render(), "Service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_network_policy_lets_out_dns_and_the_api_server_alone(render: Render) -> None:
    spec = only(render(EVERYTHING), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, api = spec["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert [port["port"] for port in api["ports"]] == [443, 6443]
    assert api["to"] == [{"ipBlock": {"cidr": "10.96.0.1/32"}}]


def test_the_network_policy_lets_in_the_metrics_port_alone(render: Render) -> None:
    (rule,) = only(render(EVERYTHING), "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert rule["from"] == EVERYTHING["networkPolicy"]["ingressFrom"]


def test_pod_settings_reach_the_pod(render: Render) -> None:
    template = only(render(EVERYTHING), "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "safety"
    assert template["metadata"]["annotations"] == EVERYTHING["podAnnotations"]
    fields = (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "imagePullSecrets",
    )
    assert {field: template["spec"][field] for field in fields} == {field: EVERYTHING[field] for field in fields}


def test_a_pod_label_cannot_take_the_pod_away_from_its_selector(render: Render) -> None:
    stolen = {"podLabels": {"app.kubernetes.io/name": "else"}}
    labels = only(render(stolen), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "sro-operator"


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("demo", {}, FULL_NAME),
        ("sro-operator", {}, "sro-operator"),
        ("demo", {"fullnameOverride": "mine"}, "mine"),
        ("demo", {"nameOverride": "other"}, "demo-other"),
    ],
    ids=["release and chart", "release says it all", "whole name given", "chart's part given"],
)
def test_objects_are_named_after_the_release(helm: Helm, release: str, values: Manifest, name: str) -> None:
    assert only(helm.template(values, release=release), "Deployment")["metadata"]["name"] == name


def test_a_service_monitor_is_refused_where_the_cluster_does_not_know_it(helm: Helm) -> None:
    with pytest.raises(
        RenderError, match=r"metrics\.serviceMonitor\.enabled: true needs the API monitoring\.coreos\.com/v1"
    ):
        helm.run("template", "x", CHART, "--set", "metrics.serviceMonitor.enabled=true")


def test_a_service_monitor_without_a_service_is_refused(render: Render) -> None:
    with pytest.raises(RenderError, match=r"needs metrics\.service\.enabled: true"):
        render({"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}})


def test_a_cluster_older_than_the_features_it_needs_is_refused(helm: Helm) -> None:
    with pytest.raises(RenderError, match=r"requires kubeVersion: >=1\.31\.0-0"):
        helm.run("template", "x", CHART, "--kube-version", "1.30.4")


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", CHART)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({}, f"kubectl rollout status deployment/{FULL_NAME} -n {NAMESPACE}"),
        ({}, "It serves SROJobs in every namespace."),
        ({"scope": "namespaced", "watchNamespaces": ["team-a", "team-b"]}, "It serves SROJobs in team-a, team-b."),
        ({}, "will leave the SROJob definition and every SROJob in place"),
        ({"scope": "namespaced", "admissionPolicy": {"enabled": False}}, "WARNING: admissionPolicy.enabled is false"),
        ({"rbac": {"create": False}}, f"once account {FULL_NAME} has been"),
    ],
    ids=["rollout", "cluster scope", "namespaces", "kept definition", "no policy", "no roles"],
)
def test_the_notes_say_what_comes_next(helm: Helm, values: Manifest, note: str) -> None:
    assert note in helm.notes(values)
