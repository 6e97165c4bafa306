"""Bounded field types that several parts of the spec share. Every string and list has a bound: CEL cost needs it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from sro_api import sources

ModelUri = Annotated[str, Field(min_length=6, max_length=512, pattern=sources.SOURCE_PATTERN)]
DataUri = Annotated[str, Field(min_length=6, max_length=512, pattern=sources.DATA_PATTERN)]
OutputUri = Annotated[str, Field(min_length=6, max_length=512, pattern=sources.OUTPUT_PATTERN)]
StorageUri = Annotated[str, Field(min_length=6, max_length=512, pattern=sources.STORAGE_PATTERN)]

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DnsSubdomain = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]+)?$"
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY_PATTERN, coerce_numbers_to_str=True),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "pattern": QUANTITY_PATTERN, "maxLength": 32}),
]  # fmt: skip
"""An amount as Kubernetes writes it: `4`, `500m`, `16Gi`."""
