"""Values: each has a comment, a rule and a line in the README; wrong ones are refused by name."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator

import jsonschema
import pytest
import yaml

from chart_rendering import CHART, EVERYTHING, REPOSITORY, VALUE_SETS, Manifest, RenderError, Values, environment
from sro_operator.settings import PREFIX, OperatorSettings

Render = Callable[..., list[Manifest]]

_NOT_OFFERED = {"SRO_HTTP_HOST"}
"""Settings that the chart leaves to extraEnv: the pod listens on all its addresses."""


@pytest.fixture(scope="module")
def schema() -> Manifest:
    parsed: Manifest = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return parsed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 1}, "additional properties 'replica' not allowed"),
        ({"trainer": {"image": {"repo": "x"}}}, "at '/trainer/image': additional properties 'repo' not allowed"),
        ({"replicas": 11}, "at '/replicas': maximum: got 11, want 10"),
        ({"scope": "all"}, "at '/scope': value must be one of 'cluster', 'namespaced'"),
        (
            {"scope": "namespaced", "watchNamespaces": ["Team"]},
            "at '/watchNamespaces/0': 'Team' does not match pattern",
        ),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        (
            {"scope": "cluster", "watchNamespaces": ["team-a"]},
            "watchNamespaces: [team-a] has no meaning with scope: cluster",
        ),
        ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
        ({"image": {"digest": "sha256:abc"}}, "at '/image/digest': 'sha256:abc' does not match pattern"),
        ({"image": {"repository": ""}}, "at '/image/repository': minLength"),
        ({"image": {"tag": 1.0}}, "at '/image/tag': got number, want string"),
        ({"imagePullSecrets": [{"name": ""}]}, "at '/imagePullSecrets/0/name'"),
        ({"operator": {"logLevel": "TRACE"}}, "at '/operator/logLevel': value must be one of"),
        ({"operator": {"resyncSeconds": 0}}, "at '/operator/resyncSeconds': exclusiveMinimum"),
        ({"operator": {"concurrency": 1.5}}, "at '/operator/concurrency': got number, want integer"),
        ({"extraEnv": [{"value": "x"}]}, "at '/extraEnv/0': missing property 'name'"),
        (
            {"extraEnv": [{"name": "SRO_LOG_LEVEL"}]},
            r"extraEnv\[0\]: SRO_LOG_LEVEL has a value of its own in this chart",
        ),
        ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
        ({"admissionPolicy": {"exemptServiceAccounts": ["velero"]}}, "at '/admissionPolicy/exemptServiceAccounts/0'"),
        ({"resources": {"limits": {"memory": "1 GB"}}}, "at '/resources/limits/memory': '1 GB' does not match pattern"),
        ({"podSecurityContext": {"runAsUser": 0}}, "at '/podSecurityContext/runAsUser': minimum: got 0, want 1"),
        ({"podSecurityContext": {"privileged": True}}, "additional properties 'privileged' not allowed"),
        ({"podLabels": {"count": 1}}, "at '/podLabels/count': got number, want string"),
        ({"metrics": {"service": {"port": 70_000}}}, "at '/metrics/service/port': maximum"),
        ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "at '/metrics/serviceMonitor/interval'"),
        ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "at '/podDisruptionBudget/maxUnavailable'"),
        ({"networkPolicy": {"apiServerPorts": []}}, "at '/networkPolicy/apiServerPorts': minItems"),
        ({"networkPolicy": {"apiServerCidrs": ["api.example"]}}, "at '/networkPolicy/apiServerCidrs/0'"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_a_wrong_value_is_refused_by_its_name(render: Render, values: Values, words: str) -> None:
    with pytest.raises(RenderError, match=words if "\\" in words else re.escape(words)):
        render(values)


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_helm_and_another_reader_of_the_schema_agree(schema: Manifest, default_values: Values, values: Values) -> None:
    jsonschema.validate(_merged(default_values, values), schema)


def _merged(base: Values, over: Values) -> Values:
    """As helm does: tables are merged, everything else is replaced, null takes a key away."""
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both_tables else value
    return {key: value for key, value in merged.items() if value is not None}


def test_this_chart_can_be_a_dependency_of_another(render: Render) -> None:
    assert render({"global": {"imageRegistry": "registry.example"}}) == render()


def test_the_schema_names_the_same_values_as_the_file(schema: Manifest, default_values: Values) -> None:
    assert set(_schema_paths(schema, schema)) - {"global"} == set(_paths(default_values, schema))


def _schema_paths(part: Manifest, schema: Manifest, prefix: str = "") -> Iterator[str]:
    for name, child in part["properties"].items():
        resolved = _resolved(child, schema)
        if "properties" in resolved:
            yield from _schema_paths(resolved, schema, f"{prefix}{name}.")
        else:
            yield prefix + name


def _paths(values: Values, schema: Manifest) -> Iterator[str]:
    """Values as paths, down to what the schema holds for one value."""
    known = set(_schema_paths(schema, schema))

    def walk(part: Values, prefix: str) -> Iterator[str]:
        for name, child in part.items():
            path = prefix + name
            if path in known or not isinstance(child, dict):
                yield path
            else:
                yield from walk(child, f"{path}.")

    return walk(values, "")


def _resolved(part: Manifest, schema: Manifest) -> Manifest:
    reference = part.get("$ref")
    if reference is None:
        return part
    return dict(schema["definitions"][reference.removeprefix("#/definitions/")])


def test_every_table_of_the_schema_is_closed_or_holds_plain_kubernetes(schema: Manifest) -> None:
    def tables(part: Manifest, path: str) -> Iterator[tuple[str, Manifest]]:
        resolved = _resolved(part, schema)
        if "properties" in resolved:
            yield path, resolved
            for name, child in resolved["properties"].items():
                yield from tables(child, f"{path}.{name}")

    assert [path for path, table in tables(schema, "values") if table.get("additionalProperties") is not False] == []


def test_every_value_has_a_comment_and_a_line_in_the_readme(schema: Manifest) -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \| `", readme, flags=re.MULTILINE))
    assert documented == {path for path in _schema_paths(schema, schema) if path != "global"}


def test_the_table_in_the_readme_is_up_to_date() -> None:
    program = REPOSITORY / "charts" / "values_table.py"
    assert subprocess.run([sys.executable, program, "--check"], check=False).returncode == 0


def test_the_operator_is_told_every_setting_that_it_reads_and_no_other(render: Render) -> None:
    read = {f"{PREFIX}{name.upper()}" for name in OperatorSettings.model_fields}
    assert set(environment(render())) | _NOT_OFFERED == read


def test_the_operator_understands_what_it_is_told(render: Render) -> None:
    settings = OperatorSettings.from_environment(environment(render(EVERYTHING)))
    assert settings.trainer_image.startswith("registry.example/trainer:2.0.0@sha256:")
    assert (settings.log_level, settings.restart_base_seconds, settings.resync_seconds) == ("DEBUG", 0.5, 30)
    assert (settings.concurrency, settings.default_memory_mib, settings.namespaces) == (1, 1_048_576, ())


def test_the_defaults_are_those_of_the_operator_but_for_names(render: Render) -> None:
    told = OperatorSettings.from_environment(environment(render()))
    named = {"trainer_image": "", "lease_namespace": "", "lease_name": ""}
    assert told.model_copy(update=named) == OperatorSettings().model_copy(update=named)


def test_the_operator_serves_the_namespaces_that_it_has_roles_in(render: Render) -> None:
    two = VALUE_SETS["two namespaces"]
    assert OperatorSettings.from_environment(environment(render(two))).namespaces == ("team-a", "team-b")


def test_the_chart_has_the_version_of_the_operator_that_it_installs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    operator = tomllib.loads((REPOSITORY / "operator" / "pyproject.toml").read_text(encoding="utf-8"))
    assert {chart["version"], chart["appVersion"]} == {operator["project"]["version"]}
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert {image["image"].partition(":")[2] for image in images} == {chart["appVersion"]}
