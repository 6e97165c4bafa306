"""Bounded field types that several parts of the spec share. Every string and list has a bound: CEL cost needs it."""

from __future__ import annotations

from decimal import Decimal
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
QUALIFIED_NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
"""As keys of labels, taints and resources are written: a name, and before a slash the domain of whoever made it up."""
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
"""Key of a map; a rule beside it holds it to the pattern, for a schema cannot."""
QualifiedName = Annotated[str, Field(min_length=1, max_length=317, pattern=QUALIFIED_NAME)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]+)?$"
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY_PATTERN, coerce_numbers_to_str=True),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "pattern": QUANTITY_PATTERN, "maxLength": 32}),
]  # fmt: skip
"""An amount as Kubernetes writes it: `4`, `500m`, `16Gi`."""


_SUFFIXES = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = "KMGTPE"


def amount(quantity: str) -> float:
    """A quantity as a number.

    Args:
        quantity: that matches QUANTITY_PATTERN.
    """
    if quantity.endswith("i"):
        return float(Decimal(quantity[:-2]) * 1024 ** (_BINARY.index(quantity[-2]) + 1))
    if quantity[-1] in _SUFFIXES:
        return float(Decimal(quantity[:-1]).scaleb(_SUFFIXES[quantity[-1]]))
    return float(Decimal(quantity))
