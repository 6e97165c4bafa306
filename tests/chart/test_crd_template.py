"""The chart's copy of the CustomResourceDefinition is the contract's, word for word."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from chart_rendering import REPOSITORY, Helm, Manifest, of_kind, only

Render = Callable[..., list[Manifest]]

_CONTRACT = REPOSITORY / "crds" / "srojobs.sro.dev.yaml"
_MINIMAL = "kind: CustomResourceDefinition\nmetadata:\n  name: x\nspec:\n  description: {}\n"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """charts/crd_template.py; it is a program, not part of a distribution."""
    spec = importlib.util.spec_from_file_location("crd_template", REPOSITORY / "charts" / "crd_template.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_rendered_definition_is_the_contracts(render: Render) -> None:
    contract = yaml.safe_load(_CONTRACT.read_text(encoding="utf-8"))
    rendered = only(render(), "CustomResourceDefinition")
    assert rendered["spec"] == contract["spec"]
    assert rendered["metadata"]["name"] == contract["metadata"]["name"]


def test_the_template_is_up_to_date(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0


def test_the_check_notices_another_definition(
    generator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "crd.yaml"
    changed.write_text(_CONTRACT.read_text(encoding="utf-8").replace("SROJobList", "SROJobs"), encoding="utf-8")
    assert generator.main(["--check", "--source", str(changed)]) == 1
    assert "out of date: run `make generate`" in capsys.readouterr().err


def test_the_check_writes_nothing(generator: ModuleType, tmp_path: Path) -> None:
    assert generator.main(["--check", "--template", str(tmp_path / "absent.yaml")]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["{{", "{{ .Values.image }}", "}}", "{{ a }} and {{ b }}", "{{{{"],
    ids=["open", "action", "close", "two", "double"],
)
def test_braces_in_a_description_survive_the_template(
    generator: ModuleType, helm: Helm, tmp_path: Path, text: str
) -> None:
    definition = _MINIMAL.format(yaml.safe_dump({"text": text}, default_flow_style=True).strip())
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: braces\nversion: 1.0.0\n", encoding="utf-8")
    (chart / "values.yaml").write_text("crds: {enabled: true, keep: true, annotations: {}}\n", encoding="utf-8")
    (chart / "templates" / "_helpers.tpl").write_text(
        '{{- define "sro-operator.labels" }}a: b{{ end }}', encoding="utf-8"
    )
    (chart / "templates" / "crd.yaml").write_text(generator.crd_template(definition), encoding="utf-8")
    rendered = yaml.safe_load(helm.run("template", "x", chart))
    assert rendered["spec"]["description"] == {"text": text}


@pytest.mark.parametrize(
    "definition",
    [
        "kind: ConfigMap\nmetadata:\n  name: x\n",
        "kind: CustomResourceDefinition\n",
        _MINIMAL.replace("  name", "  labels:\n    a: b\n  name"),
    ],
    ids=["another kind", "no metadata", "labels of its own"],
)
def test_anything_but_a_bare_definition_is_refused(generator: ModuleType, definition: str) -> None:
    with pytest.raises(ValueError, match="definition: "):
        generator.crd_template(definition)


def test_the_definition_is_kept_on_uninstall(render: Render) -> None:
    assert only(render(), "CustomResourceDefinition")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_definition_goes_with_the_release_if_so_wished(render: Render) -> None:
    metadata = only(render({"crds": {"keep": False}}), "CustomResourceDefinition")["metadata"]
    assert "annotations" not in metadata


def test_annotations_are_added_to_the_definition(render: Render) -> None:
    metadata = only(render({"crds": {"annotations": {"a": "b"}}}), "CustomResourceDefinition")["metadata"]
    assert metadata["annotations"] == {"helm.sh/resource-policy": "keep", "a": "b"}


def test_the_definition_can_be_left_to_somebody_else(render: Render) -> None:
    assert of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []
