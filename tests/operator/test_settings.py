"""The environment of an operator process."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sro_operator.settings import OperatorSettings


def test_each_setting_is_read_from_its_variable() -> None:
    environment = {
        "SRO_TRAINER_IMAGE": "registry/trainer:2",
        "SRO_NAMESPACES": "team-a, team-b,",
        "SRO_RESTART_BASE_SECONDS": "1.5",
        "SRO_HTTP_PORT": "9090",
        "PATH": "/bin",
    }
    settings = OperatorSettings.from_environment(environment)
    assert settings.trainer_image == "registry/trainer:2"
    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.restart_base_seconds, settings.http_port) == (1.5, 9090)


def test_an_empty_variable_counts_as_absent() -> None:
    assert OperatorSettings.from_environment({"SRO_NAMESPACES": "", "SRO_LOG_LEVEL": ""}) == OperatorSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("SRO_HTTP_PORT", "http"), ("SRO_RESYNC_SECONDS", "0"), ("SRO_LOG_LEVEL", "loud"), ("SRO_CONCURRENCY", "-1")],
)
def test_a_value_that_breaks_its_rule_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name.removeprefix("SRO_").lower()):
        OperatorSettings.from_environment({name: value})
