"""Finding a function, binding its arguments and checking its result: the same for every kind.

Checks come in the order of semantics 2.6: visibility, kind, size, arguments. Nothing runs before
all have passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from camber import limits
from camber.engine.transaction import Transaction
from camber.errors import (
    ArgumentValidationError,
    DeveloperError,
    FunctionNotFound,
    InvalidFunctionCall,
    ReturnsValidationError,
)
from camber.functions.application import Application, Resolved, function_at, function_named
from camber.functions.calls import MountedFunction
from camber.functions.components import not_mounted
from camber.functions.database import Query
from camber.functions.definition import Function, FunctionKind, Visibility
from camber.functions.http_router import HttpRoute
from camber.functions.metadata import FunctionMetadata, RequestMetadata
from camber.functions.predicates import Guard
from camber.identity.identity import User
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.failures import FailureTexts
from camber.runtime.handles import Handles, NamedFunction
from camber.runtime.release import InProcessRelease, LoadedRelease
from camber.runtime.results import Failure
from camber.schema.plan import TableNames, ValidationError
from camber.values.packed import CommitTsUnknown, pack, unpack
from camber.values.paths import HANDLE_PREFIX, FunctionPath
from camber.values.size import value_size
from camber.values.value import Value

#: Which kinds may call which within one transaction (semantics 4.6).
_MAY_CALL: Mapping[FunctionKind, frozenset[FunctionKind]] = {
    FunctionKind.QUERY: frozenset({FunctionKind.QUERY}),
    FunctionKind.MUTATION: frozenset({FunctionKind.QUERY, FunctionKind.MUTATION}),
}
#: A packed number may take a ninth of what limits count for it.
_PACKED_TO_COUNTED = 9


class Serving(Protocol):
    """Knows which release serves."""

    def serving(self, transaction: Transaction) -> LoadedRelease:
        """Return the release that serves at the transaction's snapshot; recorded as read.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """


def application_of(release: LoadedRelease) -> Application:
    """Return the application of a release that was loaded in this process."""
    assert isinstance(release, InProcessRelease), f"{release!r} runs elsewhere"
    return release.application


class Listed(Protocol):
    """A function in a list of them: one that can run, or what is known of one."""

    @property
    def visibility(self) -> Visibility:
        """Return who may call it."""


F_co = TypeVar("F_co", bound=Listed, covariant=True)


class Declaring(Protocol[F_co]):
    """An application or a component, with the functions that it declares."""

    @property
    def functions(self) -> Mapping[str, F_co]:
        """Return them by path."""

    def in_component(self, component: str) -> Declaring[F_co] | None:
        """Return what is mounted at a component path, itself for the empty one."""


def find(declared: Declaring[F_co], call: FunctionCall) -> F_co | None:
    """Return the function that a call names, or None if there is none for its caller.

    Clients reach the application's own functions, never those of its components.
    """
    if call.component:
        component = declared.in_component(call.component)
        if component is None or call.caller is Caller.CLIENT:
            return None
        declared = component
    function = declared.functions.get(call.path)
    if function is None:
        return None
    if function.visibility is Visibility.INTERNAL and call.caller is Caller.CLIENT:
        return None
    return function


def admitted(
    application: Application, call: FunctionCall, kind: FunctionKind
) -> Function[..., Any]:
    """Return the function that a call names, once all is checked that needs no arguments.

    Raises:
        DeveloperError: it does not exist for this caller, is of another kind, or its arguments
            are too large or no value.
    """
    function = find(application, call)
    if function is None:
        display = _display(call)
        is_mounted = application.in_component(call.component) is not None
        if not is_mounted and call.caller is not Caller.CLIENT:
            msg = not_mounted(call.component, application.components)
        elif call.caller is Caller.CLIENT:
            msg = (
                f"Could not find public function for '{display}'. Is it defined, and is a server "
                "running that has loaded it?"
            )
        else:
            msg = f"Could not find function for '{display}'. Is it defined in that module?"
        raise FunctionNotFound(msg)
    if function.kind is not kind:
        msg = (
            f"'{_display(call)}' was executed as {_article(kind)}, but it is defined as "
            f"{_article(function.kind)}"
        )
        raise InvalidFunctionCall(msg)
    if call.arguments_error is not None:
        raise ArgumentValidationError(call.arguments_error)
    if _is_larger(call.arguments, limits.arguments_bytes_max):
        msg = (
            f"the arguments of {_display(call)} are larger than {limits.arguments_bytes_max} bytes, the "
            "most for one call. Send less, or store a file"
        )
        raise ArgumentValidationError(msg)
    return function


def guarded(
    application: Application, call: FunctionCall
) -> tuple[Function[..., Any], Guard | None]:
    """Return what stands for an action or a route whose guard is asked, and the guard.

    Raises:
        FunctionNotFound: the release that serves now has none such.
    """
    declared = application.in_component(call.component)
    function = None if declared is None else declared.functions.get(call.path)
    if function is not None:
        return function, function.guard
    if declared is not None and declared.http is not None:
        for route in declared.http.routes:
            if route.name == call.path:
                return _stand_in(declared, route), route.guard
    msg = f"'{call.path}' is not there any more: another release serves now"
    raise FunctionNotFound(msg)


def _nothing(ctx: Any) -> None:
    """Stand where a function is asked for and there is none."""


def _stand_in(component: Application, route: HttpRoute) -> Function[..., Any]:
    function: Function[..., Any] = Function(
        _nothing, kind=FunctionKind.QUERY, visibility=Visibility.INTERNAL, name=None
    )
    function.resolve(component.compiler)
    function.path = route.name
    return function


def _display(call: FunctionCall) -> str:
    inside = f"{call.component}/" if call.component else ""
    return inside + FunctionPath.parse(call.path).display


def not_admitted(texts: FailureTexts, error: DeveloperError, call: FunctionCall) -> Failure:
    """Return the failure of a call that was not let in.

    Admins are told why where errors are redacted too: nothing of the application has run.
    """
    told = texts.unredacted if call.caller is Caller.ADMIN else texts
    return told.refused(error, call.request_id)


def _article(kind: FunctionKind) -> str:
    return f"{'an' if kind is FunctionKind.ACTION else 'a'} {kind.value}"


def resolve(
    handles: Handles, application: Application, caller: Application, callee: Any
) -> Resolved:
    """Return the function that user code of the component `caller` names in a call.

    A handle leads anywhere in `application`; all else is named as `function_named` has it.

    Raises:
        FunctionNotFound: there is none, or the handle was not made here.
    """
    if isinstance(callee, str) and callee.startswith(HANDLE_PREFIX):
        named = handles.named(callee)
        component = application.in_component(named.component)
        if component is None:
            msg = f"{callee!r} leads nowhere: no component is mounted at '{named.component}'"
            raise FunctionNotFound(msg)
        return function_at(component, named.path.key)
    if isinstance(callee, Function | MountedFunction | str):
        return function_named(caller, callee)
    msg = f"{callee!r} names no function: give the decorated function, or its path"
    raise FunctionNotFound(msg)


def handle_of(handles: Handles, resolved: Resolved) -> str:
    """Return the handle of a function."""
    path = FunctionPath.parse(resolved.function.path)
    return handles.handle(NamedFunction(resolved.component.component, path))


def check_may_call(caller: FunctionKind, callee: Resolved, kind: FunctionKind) -> None:
    """Do nothing if a function of kind `caller` may call `callee` as a `kind`.

    Raises:
        InvalidFunctionCall: it may not.
    """
    if callee.function.kind is not kind:
        msg = (
            f"{callee.display} was executed as {_article(kind)}, but it is defined as "
            f"{_article(callee.function.kind)}"
        )
        raise InvalidFunctionCall(msg)
    if kind not in _MAY_CALL[caller]:
        msg = f"{_article(caller)} cannot call {_article(kind)}, as {callee.display} is"
        raise InvalidFunctionCall(msg)


def bound(function: Function[..., Any], arguments: bytes, names: TableNames) -> dict[str, Any]:
    """Return the keyword arguments of a call.

    Raises:
        ArgumentValidationError: they do not match what the function declares.
    """
    return function.arguments.bind(unpack(arguments), names)


def encoded_arguments(
    function: Function[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    names: TableNames,
    within: Transaction | None = None,
) -> bytes:
    """Return the packed arguments of a call written in Python.

    Those of a call `within` a mutation's transaction may hold its commit timestamp.
    """
    value: Value = function.arguments.encode_call(args, kwargs, names)
    try:
        return pack(value)
    except CommitTsUnknown:
        if within is None:
            raise
        return within.pack_pending(value)


def encoded_result(
    function: Function[..., Any],
    result: Any,
    names: TableNames,
    within: Transaction | None = None,
) -> bytes:
    """Return the packed result of a function.

    What is returned `within` a mutation's transaction may hold its commit timestamp.

    Raises:
        ReturnsValidationError: it does not match the return annotation, or is too large.
    """
    if isinstance(result, Query):
        msg = (
            f"{function.path} returned a query that has not been run; end it with collect(), "
            "take(n), first(), unique() or paginate(...)"
        )
        raise ReturnsValidationError(msg)
    try:
        value: Value = function.returns.encode(result, names)
    except ValidationError as error:
        raise ReturnsValidationError(str(error)) from None
    except DeveloperError as error:
        raise ReturnsValidationError(error.sentence) from None
    try:
        packed = pack(value)
    except CommitTsUnknown as error:
        if within is None:
            raise ReturnsValidationError(error.sentence) from None
        packed = within.pack_pending(value)
    if _is_larger(packed, limits.result_bytes_max):
        msg = (
            f"the result of {function.path} is larger than {limits.result_bytes_max} bytes, the "
            "most for one function. Return less, or paginate"
        )
        raise ReturnsValidationError(msg)
    return packed


def _is_larger(packed: bytes, bytes_max: int) -> bool:
    if len(packed) * _PACKED_TO_COUNTED <= bytes_max:
        return False
    return value_size(unpack(packed)) > bytes_max


def function_metadata(component: Application, function: Function[..., Any]) -> FunctionMetadata:
    """Return what a function may know of itself."""
    return FunctionMetadata(
        name=function.path,
        component_path=component.component,
        type=function.kind.value,
        visibility=function.visibility.value,
    )


def request_metadata(call: FunctionCall, component: Application) -> RequestMetadata:
    """Return what a function of a component may know of what it runs for.

    With the token of a user one acts as the user: components are not given it, as they are not
    given the identity.
    """
    sender, identity = call.sender, call.identity
    token = identity.token if isinstance(identity, User) else None
    return RequestMetadata(
        request_id=call.request_id,
        scheduled_function_id=call.job,
        ip=None if sender is None else sender.ip,
        user_agent=None if sender is None else sender.user_agent,
        auth_token=None if component.component else token,
    )
