"""Alerts and dashboard ask for metrics that the operator exports, by labels that they have."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from chart_rendering import CHART, EVERYTHING, Helm, Manifest, RenderError, of_kind, only
from sro_operator.keys import Key
from sro_operator.metrics import Metrics

Render = Callable[..., list[Manifest]]

_ADDED_BY_PROMETHEUS = {"job", "pod", "le"}
_WORDS = {"by", "or", "and", "max", "sum", "rate", "increase", "absent", "time", "histogram_quantile"}


def exported() -> dict[str, set[str]]:
    """Each series that the operator exports, with its labels."""
    metrics = Metrics()
    metrics.note_progress(Key(namespace="n", name="a"), "Running", {"step": 1})
    metrics.page([])
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        labels = set(getattr(family, "_labelnames", ())) | {name for sample in family.samples for name in sample.labels}
        for suffix in suffixes:
            found[f"{family.name}{suffix}"] = labels
    labelled = {"sro_jobs_finished_total": {"phase", "reason"}, "sro_attempts_ended_total": {"reason"},
                "sro_reconciles_total": {"result"}, "sro_api_requests_total": {"verb", "resource", "code"}}  # fmt: skip
    return {**found, **labelled}


def expressions(objects: list[Manifest]) -> Iterator[str]:
    """Every query of the alerts and the dashboard."""
    for group in only(objects, "PrometheusRule")["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in dashboard(objects)["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def dashboard(objects: list[Manifest]) -> Manifest:
    """The dashboard as Grafana reads it."""
    (board,) = (each for each in of_kind(objects, "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard"))
    parsed: Manifest = json.loads(board["data"]["sro.json"])
    return parsed


def test_every_query_asks_for_series_and_labels_that_are_exported(render: Render) -> None:
    known = exported()
    asked = list(expressions(render(EVERYTHING)))
    assert len(asked) > 25
    for expression in asked:
        names = set(re.findall(r"\bsro_[a-z_]+", expression))
        assert names <= set(known), expression
        labels = {label for name in names for label in known[name]} | _ADDED_BY_PROMETHEUS
        used = {
            name for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.replace(" ", "").split(",")
        }
        used |= set(re.findall(r"[{,]\s*([a-z_]+)\s*[=!]", expression))
        assert used <= labels, expression


def test_every_metric_is_on_the_dashboard_or_in_an_alert(render: Render) -> None:
    asked = " ".join(expressions(render(EVERYTHING)))
    families = {family.name for family in Metrics().registry.collect()}
    assert {name for name in families if name not in asked} == set()


def test_every_alert_says_what_to_do(render: Render) -> None:
    for group in only(render(EVERYTHING), "PrometheusRule")["spec"]["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
            assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_queries_are_balanced_and_use_known_words(render: Render) -> None:
    for expression in expressions(render(EVERYTHING)):
        assert expression.count("(") == expression.count(")"), expression
        bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)|sro_[a-z_]+", " ", expression)
        assert set(re.findall(r"[a-z_]{2,}", bare)) <= _WORDS, expression


def test_alerts_are_refused_where_the_cluster_does_not_know_them(helm: Helm) -> None:
    with pytest.raises(RenderError, match=r"metrics\.alerts\.enabled: true needs the API monitoring\.coreos\.com/v1"):
        helm.run("template", "x", CHART, "--set", "metrics.alerts.enabled=true")


def test_nothing_of_monitoring_is_made_unasked(render: Render) -> None:
    assert not {"PrometheusRule", "ServiceMonitor", "ConfigMap"} & {each["kind"] for each in render()}
