"""What every wire type shares: frozen, camelCase on the wire, unknown keys refused, docstrings as descriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object as plain data; the one place where Any is meant."""

_Model = TypeVar("_Model", bound="type[ApiModel]")


class ApiModel(BaseModel):
    """A part of the wire contract."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Manifest:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if rules := rules_of(cls):
            schema["x-kubernetes-validations"] = rules
        return schema

    def to_wire(self, *, defaults: bool = True) -> Manifest:
        """The object as it travels: camelCase, JSON types, absent fields left out.

        Args:
            defaults: whether fields that nobody set are written with their defaults.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=not defaults)


def rule(
    expression: str, message: str, *, at: str | None = None, shows: str | None = None, reason: str = "FieldValueInvalid"
) -> Callable[[_Model], _Model]:
    """Attach one CEL rule (`x-kubernetes-validations`) to the type it decorates.

    Args:
        expression: CEL over `self` (and `oldSelf` in a rule about changes).
        message: the rule in words; the API server puts the field's path in front of it.
        at: path of the field to blame, as `.steps`; the object itself if None.
        shows: CEL for the offending value, put before the message: the API server names it for no rule by itself.
        reason: one of the API server's four field error reasons.
    """
    entry: Manifest = {"rule": " ".join(expression.split()), "message": message, "reason": reason}
    if at is not None:
        entry["fieldPath"] = at
    if shows is not None:
        # Not `string(x) + '...'`: the API server has no bound on the size of string(x) and refuses the cost.
        quoted = message.replace("'", "\\'").replace("%", "%%")
        entry["messageExpression"] = f"'%s: {quoted}'.format([{shows}])"

    def decorate(model: _Model) -> _Model:
        # Own rules only: a subclass writes its own list.
        model.__cel_rules__ = [entry, *model.__dict__.get("__cel_rules__", [])]  # type: ignore[attr-defined]
        return model

    return decorate


def rules_of(model: type[BaseModel]) -> list[Manifest]:
    """The CEL rules attached to a type, in the order in which they are written."""
    return list(model.__dict__.get("__cel_rules__", []))
