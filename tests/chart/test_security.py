"""What the chart asks of a cluster: a restricted pod, narrow rights, no Secret."""

from collections.abc import Callable, Iterator

import pytest

from chart_rendering import (
    EVERYTHING,
    FULL_NAME,
    NAMESPACE,
    VALUE_SETS,
    Helm,
    Manifest,
    RenderError,
    environment,
    of_kind,
    only,
    operator_container,
)
from sro_api.status import SROJobStatus

Render = Callable[..., list[Manifest]]

_RBAC_KINDS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
_RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_all_values = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


def _pod(objects: list[Manifest]) -> Manifest:
    return dict(only(objects, "Deployment")["spec"]["template"]["spec"])


def _rules(objects: list[Manifest]) -> Iterator[Manifest]:
    for each in [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]:
        yield from each["rules"]


@_all_values
def test_the_pod_meets_the_restricted_pod_security_standard(render: Render, values: Manifest) -> None:
    pod, container = _pod(render(values)), operator_container(render(values))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)
    assert all("hostPort" not in port for port in container["ports"])
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= _RESTRICTED_VOLUMES


def test_the_pod_runs_as_nobody_in_particular(render: Render) -> None:
    context = _pod(render())["securityContext"]
    assert {context[field] for field in ("runAsUser", "runAsGroup", "fsGroup")} == {65532}


def test_the_platform_may_choose_the_user(render: Render) -> None:
    chosen = _pod(render(VALUE_SETS["as little as can be"]))["securityContext"]
    assert chosen == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_only_writable_folder_is_small_scratch(render: Render) -> None:
    assert operator_container(render())["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert _pod(render())["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def test_cpu_and_memory_are_requested_and_bounded(render: Render) -> None:
    resources = operator_container(render())["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}


def test_only_the_operators_own_pod_gets_a_token(render: Render) -> None:
    assert only(render(), "ServiceAccount")["automountServiceAccountToken"] is False
    assert _pod(render())["automountServiceAccountToken"] is True
    assert _pod(render())["serviceAccountName"] == only(render(), "ServiceAccount")["metadata"]["name"]


@_all_values
def test_nobody_is_given_a_right_to_secrets(render: Render, values: Manifest) -> None:
    assert all("secrets" not in rule["resources"] for rule in _rules(render(values)))


@_all_values
def test_no_rule_has_a_wildcard(render: Render, values: Manifest) -> None:
    for rule in _rules(render(values)):
        assert not any("*" in entry for part in rule.values() for entry in part), rule


@_all_values
def test_no_rule_lets_anybody_take_more_rights(render: Render, values: Manifest) -> None:
    for rule in _rules(render(values)):
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"]), rule
        assert not {"pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"]), rule


def test_the_operator_cannot_make_pods_itself(render: Render) -> None:
    verbs = {verb for rule in only_role(render())["rules"] if "pods" in rule["resources"] for verb in rule["verbs"]}
    assert not {"create", "update", "patch"} & verbs


def test_the_operator_cannot_write_an_srojobs_spec(render: Render) -> None:
    verbs = {verb for rule in only_role(render())["rules"] if "srojobs" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"list", "watch", "delete"}


def only_role(objects: list[Manifest]) -> Manifest:
    """The operator's ClusterRole."""
    (role,) = (each for each in of_kind(objects, "ClusterRole") if each["metadata"]["name"] == FULL_NAME)
    return role


def test_finalizers_are_a_right_only_where_asked_for(render: Render) -> None:
    asked = {resource for rule in _rules(render(EVERYTHING)) for resource in rule["resources"]}
    unasked = {resource for rule in _rules(render()) for resource in rule["resources"]}
    assert asked - unasked == {"srojobs/finalizers"}


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        ({"scope": "namespaced"}, [NAMESPACE]),
        ({"scope": "namespaced", "watchNamespaces": ["team-a", "team-b"]}, ["team-a", "team-b"]),
    ],
    ids=["its own", "others"],
)
def test_namespaced_scope_gives_rights_in_the_watched_namespaces_alone(
    render: Render, values: Manifest, namespaces: list[str]
) -> None:
    objects = render(values)
    assert {each["kind"] for each in objects} & _RBAC_KINDS == {"Role", "RoleBinding"}
    for kind in ("Role", "RoleBinding"):
        for name in (FULL_NAME, f"{FULL_NAME}-trainers"):
            served = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
            assert [each["metadata"]["namespace"] for each in served] == namespaces
    assert environment(objects)["SRO_NAMESPACES"] == ",".join(namespaces)


def test_namespaced_scope_grants_the_same_rules_as_cluster_scope(render: Render) -> None:
    roles = of_kind(render({"scope": "namespaced"}), "Role")
    (namespaced,) = (each for each in roles if each["metadata"]["name"] == FULL_NAME)
    assert namespaced["rules"] == only_role(render())["rules"]


@pytest.mark.parametrize(
    "values", [{}, {"scope": "namespaced", "watchNamespaces": ["a"]}], ids=["cluster", "namespaced"]
)
def test_every_binding_gives_a_role_of_the_chart_to_its_account_or_to_all_trainers(
    render: Render, values: Manifest
) -> None:
    objects = render(values)
    account = only(objects, "ServiceAccount")["metadata"]
    operator = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    for binding in [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]:
        role, (subject,) = binding["roleRef"], binding["subjects"]
        assert role["name"] in {each["metadata"]["name"] for each in of_kind(objects, role["kind"])}
        if not role["name"].endswith("-trainers"):
            assert subject == operator
            continue
        # In their own namespace alone where the operator serves only some.
        within = f":{binding['metadata']['namespace']}" if binding["kind"] == "RoleBinding" else ""
        everybody = {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": f"system:serviceaccounts{within}",
        }
        assert subject == everybody


@_all_values
def test_trainers_are_granted_one_verb_on_one_subresource(render: Render, values: Manifest) -> None:
    objects = render(values)
    roles = [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]
    granted = [each["rules"] for each in roles if each["metadata"]["name"].endswith("-trainers")]
    rule = {"apiGroups": ["sro.dev"], "resources": ["srojobs/status"], "verbs": ["patch"]}
    assert granted == [[rule]] * len(granted)
    assert bool(granted) == values.get("rbac", {}).get("create", True)


def test_without_its_policy_the_chart_grants_trainers_nothing_in_the_whole_cluster(helm: Helm) -> None:
    with pytest.raises(RenderError, match=r"admissionPolicy\.enabled: false needs scope: namespaced or rbac\.create"):
        helm.template({"admissionPolicy": {"enabled": False}})


def test_the_clusters_own_roles_learn_about_srojobs(render: Render) -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated = {
        label.removeprefix(prefix): {
            (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        for role in of_kind(render(), "ClusterRole")
        for label in role["metadata"]["labels"]
        if label.startswith(prefix)
    }
    assert aggregated["view"] == {
        ("srojobs", "get"),
        ("srojobs", "list"),
        ("srojobs", "watch"),
        ("srojobs/status", "get"),
    }
    assert aggregated["edit"] == {
        ("srojobs", verb) for verb in ("create", "update", "patch", "delete", "deletecollection")
    }
    assert aggregated["admin"] == {("srojobs/status", "get"), ("srojobs/status", "patch")}


def test_the_admission_policy_guards_every_status_field_but_progress(render: Render) -> None:
    fields = {field.alias or name for name, field in SROJobStatus.model_fields.items()}
    policy = only(render(), "ValidatingAdmissionPolicy")["spec"]
    (own_pod, *guarded) = [validation["expression"] for validation in policy["validations"]]
    assert "request.name" in own_pod
    assert set(guarded) == {f"object.?status.?{field} == oldObject.?status.?{field}" for field in fields - {"progress"}}
    assert policy["failurePolicy"] == "Fail"


def test_the_admission_policy_lets_the_operators_own_account_pass(render: Render) -> None:
    conditions = _conditions(render())
    assert (
        conditions["but-not-the-operator"]
        == f"request.userInfo.username != 'system:serviceaccount:{NAMESPACE}:{FULL_NAME}'"
    )


def test_the_admission_policy_lets_exempt_accounts_pass(render: Render) -> None:
    conditions = _conditions(render(EVERYTHING))
    assert conditions["but-not-exempt-0"] == "request.userInfo.username != 'system:serviceaccount:velero:velero'"


def _conditions(objects: list[Manifest]) -> dict[str, str]:
    policy = only(objects, "ValidatingAdmissionPolicy")["spec"]
    return {condition["name"]: condition["expression"] for condition in policy["matchConditions"]}


def test_the_admission_policy_of_a_namespaced_release_is_bound_to_its_namespaces(render: Render) -> None:
    objects = render({"scope": "namespaced", "watchNamespaces": ["team-a", "team-b"]})
    binding = only(objects, "ValidatingAdmissionPolicyBinding")
    (namespaces,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert namespaces == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}
    assert binding["spec"]["policyName"] == only(objects, "ValidatingAdmissionPolicy")["metadata"]["name"]


def test_namespaced_releases_of_one_name_share_no_cluster_scoped_object(render: Render) -> None:
    policy = only(render({"scope": "namespaced"}), "ValidatingAdmissionPolicy")
    assert NAMESPACE in policy["metadata"]["name"]
