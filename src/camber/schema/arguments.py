"""The arguments of a function: bound from what a caller sends, encoded for a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from camber.errors import ArgumentValidationError
from camber.schema.annotations import Arg
from camber.schema.compiler import AnnotationError, Compiler
from camber.schema.plan import AnyPlan, FieldPlan, ObjectPlan, Plan, TableNames, ValidationError
from camber.values.value import UNSET, Value


@dataclass(frozen=True, slots=True)
class ArgumentsPlan:
    """What a function takes after its context.

    `rest` is the plan of further arguments (`**rest: T`), None where there are none.
    """

    fields: tuple[FieldPlan, ...]
    rest: Plan | None
    #: Parameters that may be given by position, in order.
    positional: tuple[str, ...]

    @staticmethod
    def from_signature(
        function: Callable[..., Any], compiler: Compiler, where: str
    ) -> ArgumentsPlan:
        """Return the plan of a function's parameters; the first one is the context.

        Raises:
            AnnotationError: a parameter that cannot be sent.
        """
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.POSITIONAL_ONLY,
        }:
            msg = f"{where}: the first parameter of a function is its context"
            raise AnnotationError(msg)
        hints = compiler.hints(function, where)
        fields: list[FieldPlan] = []
        positional: list[str] = []
        rest: Plan | None = None
        for parameter in parameters[1:]:
            place = f"{where}, parameter {parameter.name!r}"
            annotation = hints.get(parameter.name, Any)
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                msg = f"{place}: arguments are sent by name; *{parameter.name} cannot be"
                raise AnnotationError(msg)
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                msg = f"{place}: arguments are sent by name; only the context stands before '/'"
                raise AnnotationError(msg)
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                rest = compiler.compile(annotation, place)
                continue
            has_default = parameter.default is not inspect.Parameter.empty
            fields.append(
                FieldPlan(
                    attribute=parameter.name,
                    name=_wire_name(parameter.name, annotation),
                    plan=compiler.compile(annotation, place),
                    required=not has_default,
                    default=parameter.default if has_default else UNSET,
                )
            )
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                positional.append(parameter.name)
        return ArgumentsPlan(tuple(fields), rest, tuple(positional))

    @property
    def json(self) -> dict[str, Any]:
        """Return the JSON of the arguments' validator."""
        if self.rest is not None:
            return AnyPlan().json
        return self._object().json

    def _object(self) -> ObjectPlan:
        return ObjectPlan("arguments", dict, lambda value: value, self.fields)

    def bind(self, value: Value, names: TableNames) -> dict[str, Any]:
        """Return the keyword arguments of a call.

        A parameter with a default that was not sent is left to Python.

        Raises:
            ArgumentValidationError: something is missing, wrong or too much.
        """
        if not isinstance(value, dict):
            msg = f"The arguments of a function are one object, not {type(value).__name__}."
            raise ArgumentValidationError(msg)
        try:
            return self._bind(value, names)
        except ValidationError as error:
            raise ArgumentValidationError(str(error)) from None

    def _bind(self, value: dict[str, Value], names: TableNames) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        taken = 0
        for f in self.fields:
            item = value.get(f.name, UNSET)
            if item is UNSET:
                if f.required:
                    raise ValidationError(
                        f"Object is missing the required field `{f.name}`.", value, self._object()
                    )
                continue
            taken += 1
            try:
                bound[f.attribute] = f.plan.decode(item, names)
            except ValidationError as error:
                raise error.under(f".{f.name}") from None
        if taken != len(value):
            known = {f.name for f in self.fields}
            for name, item in value.items():
                if name not in known:
                    bound[name] = self._bind_rest(name, item, value, names)
        return bound

    def _bind_rest(self, name: str, item: Value, value: dict[str, Value], names: TableNames) -> Any:
        if self.rest is None:
            raise ValidationError(
                f"Object contains extra field `{name}` that is not in the validator.",
                value,
                self._object(),
            )
        try:
            return self.rest.decode(item, names)
        except ValidationError as error:
            raise error.under(f".{name}") from None

    def encode_call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], names: TableNames
    ) -> dict[str, Value]:
        """Return what to send for a call written in Python.

        Raises:
            ArgumentValidationError: an argument does not fit its parameter.
        """
        if len(args) > len(self.positional):
            msg = f"{len(args)} positional arguments for {len(self.positional)} parameters"
            raise ArgumentValidationError(msg)
        given = {**dict(zip(self.positional, args, strict=False)), **kwargs}
        by_attribute = {f.attribute: f for f in self.fields}
        sent: dict[str, Value] = {}
        for name, item in given.items():
            if item is UNSET:
                continue
            f = by_attribute.get(name)
            plan = AnyPlan() if f is None else f.plan
            try:
                sent[name if f is None else f.name] = plan.encode(item, names)
            except ValidationError as error:
                raise ArgumentValidationError(str(error.under(f".{name}"))) from None
        return sent


def _wire_name(parameter: str, annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        for mark in marks:
            if isinstance(mark, Arg):
                return mark.name
        annotation = inner
    # A type may ask for its wire name where the parameter is called as it commonly is.
    names: Mapping[str, str] = getattr(annotation, "__camber_argument_names__", {})
    return names.get(parameter, parameter)
