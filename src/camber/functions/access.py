"""Who may do what: guards of functions, rules of tables, and who the caller is in the application's own tables.

    access = Access(default="deny")
    access.table(Note, read=owner | role("admin"), write=owner)

A guard, `@query(allow=signed_in)`, is asked before a function that is called from outside begins. The
rules of `access`, the module attribute of that name in the module `access`, hold in every query
and mutation. Both are asked with a context whose `ctx.db` reads everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    overload,
)

from camber.engine import system_tables
from camber.engine.variables import SITE_URL
from camber.errors import AccessDenied, DeveloperError
from camber.functions.contexts import QueryCtx
from camber.functions.predicates import (
    Guard,
    PredicateError,
    RowRule,
    checked_answer,
    checked_parameters,
    name_of,
    refuse_arguments,
)
from camber.functions.row_rules import (
    CLOSED,
    DeclaredRules,
    RowPredicate,
    TableRules,
    Update,
    nobody,
)
from camber.identity.identity import UserIdentity
from camber.schema.table import DeclaredTable, Index, Table
from camber.values.paths import is_identifier

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound=Table)
S = TypeVar("S", bound=Table)
Row = TypeVar("Row")
U_co = TypeVar("U_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)

#: A rule of one row: a row rule, a guard, or a function of a context and a row.
RowAllow: TypeAlias = "RowRule[Row] | Guard | Callable[[QueryCtx, Row], bool]"
#: A rule of an update: one of one row, which holds for the old and the new one, or a function of both.
UpdateAllow: TypeAlias = "RowAllow[Row] | Callable[[QueryCtx, Row, Row], bool]"

anyone: Final = Guard(lambda _: True, name="anyone")
signed_in: Final = Guard(lambda ctx: ctx.auth.get_user_identity() is not None, name="signed_in")


def guard(handler: Callable[Concatenate[QueryCtx, P], bool], /) -> Guard:
    """Make a function a guard, to be combined with others: `@guard`.

    Its first parameter is a context; further ones are arguments of the functions that it guards.
    """
    return Guard.of(handler)


def row_rule(handler: Callable[[QueryCtx, Row], bool], /) -> RowRule[Row]:
    """Make a function of a context and a row a rule, to be combined with others: `@row_rule`."""
    return RowRule.of(handler)


class Access:
    """Which rows the functions of an application, or of a component, may read and write.

    It is an attribute of the module `access`. Each rule is asked of every row: of one that is read,
    which is otherwise as if it was not there; of one that is to be inserted; of one that is to be
    changed, as it was and as it would be; of one that is to be deleted. A row that cannot be read
    can be neither changed nor deleted.

    Args:
        default: what is allowed where there is no rule. "deny" also closes tables that nobody thought
            of; the tables of `ctx.db.system` have rules only where some are declared.
    """

    def __init__(self, *, default: Literal["allow", "deny"] = "allow") -> None:
        if default not in {"allow", "deny"}:
            msg = f'Access(default={default!r}): it is "allow" or "deny"'
            raise PredicateError(msg)
        self._others = CLOSED if default == "deny" else TableRules()
        self._tables: dict[str, tuple[object, TableRules]] = {}

    @overload
    def table(
        self,
        table: type[D],
        /,
        *,
        read: RowAllow[D] | None = None,
        write: RowAllow[D] | None = None,
        insert: RowAllow[D] | None = None,
        update: UpdateAllow[D] | None = None,
        delete: RowAllow[D] | None = None,
    ) -> None: ...

    @overload
    def table(
        self,
        table: str,
        /,
        *,
        read: RowAllow[dict[str, Any]] | None = None,
        write: RowAllow[dict[str, Any]] | None = None,
        insert: RowAllow[dict[str, Any]] | None = None,
        update: UpdateAllow[dict[str, Any]] | None = None,
        delete: RowAllow[dict[str, Any]] | None = None,
    ) -> None: ...

    def table(
        self,
        table: Any,
        /,
        *,
        read: Any = None,
        write: Any = None,
        insert: Any = None,
        update: Any = None,
        delete: Any = None,
    ) -> None:
        """Declare the rules of a table, once.

        Args:
            table: its class, or the name of one that is not declared.
            read: which rows can be seen.
            write: which rows can be inserted, changed and deleted, where nothing more particular is
                said.
            insert: which rows can be added.
            update: which rows can be changed by patch and replace. A rule of one row must hold for the
                row as it was and as it would be; a function of a context and two rows is asked once.
            delete: which rows can be removed.

        Raises:
            PredicateError: a rule cannot be one, or the table has rules already.
        """
        name = _table_name(table)
        if name in self._tables:
            msg = f"table {name!r} has rules already; combine them with & and |"
            raise PredicateError(msg)
        if name.startswith("_"):
            self._check_system(name, write=write, insert=insert, update=update, delete=delete)
        rules = TableRules(
            read=_row_predicate(name, "read", read) if read is not None else self._others.read,
            insert=self._rule(name, "insert", insert, write),
            update=self._rule(name, "update", update, write),
            delete=self._rule(name, "delete", delete, write),
        )
        self._tables[name] = (table, rules)

    def resolve(self, declared: Mapping[str, DeclaredTable]) -> DeclaredRules:
        """Return the rules; called when all modules have loaded.

        Raises:
            PredicateError: one is of a table that is not declared here.
        """
        for name, (table, _) in self._tables.items():
            if isinstance(table, str) or name in system_tables.READABLE:
                continue
            if declared.get(name) is not getattr(table, "__camber__", None):
                msg = (
                    f"{getattr(table, '__name__', table)} has rules, and its table {name!r} is not "
                    "declared here: a component's rules are its own"
                )
                raise PredicateError(msg)
        return DeclaredRules(
            tables={name: rules for name, (_, rules) in self._tables.items()}, others=self._others
        )

    def _rule(self, table: str, operation: str, own: Any, write: Any) -> Any:
        given = write if own is None else own
        if given is None:
            return getattr(self._others, operation)
        make = _update_predicate if operation == "update" else _row_predicate
        return make(table, operation, given)

    def _check_system(self, name: str, **writes: Any) -> None:
        if name not in system_tables.READABLE:
            msg = f"table {name!r}: names that start with '_' are Camber's own"
            raise PredicateError(msg)
        for operation, given in writes.items():
            if given is not None and (name, operation) != (system_tables.STORAGE, "delete"):
                msg = (
                    f"{operation}= of {name!r}: rules of system tables say what can be read, and "
                    "which files ctx.storage.delete may delete"
                )
                raise PredicateError(msg)


def _table_name(table: object) -> str:
    if isinstance(table, str):
        if not is_identifier(table):
            raise PredicateError(f"{table!r} cannot name a table")
        return table
    declared = getattr(table, "__camber__", None)
    if declared is None:
        msg = f'{table!r} is no table: give a class with table="…", or a table\'s name'
        raise PredicateError(msg)
    return str(declared.name)


def _row_predicate(table: str, operation: str, rule: Any) -> RowPredicate:
    if rule is anyone:
        return None
    if isinstance(rule, Guard):
        refuse_arguments(rule, f"{operation}= of table {table!r}")
        return rule
    return rule if isinstance(rule, RowRule) else RowRule.of(rule)


def _update_predicate(table: str, operation: str, rule: Any) -> Update | RowPredicate:
    if isinstance(rule, Guard | RowRule):
        return _row_predicate(table, operation, rule)
    name = name_of(rule)
    what, takes = (
        "an update's rule",
        "a context and a row, or a context, the old row and the new one",
    )
    parameters = checked_parameters(rule, name, what=what, takes=takes)
    if len(parameters) == 2:
        return RowRule.of(rule)
    checked_parameters(rule, name, what=what, takes=takes, count=3)
    return Update(lambda ctx, old, new: checked_answer(rule(ctx, old, new), name), name)


def remembered(
    handler: Callable[Concatenate[QueryCtx, P], R], /
) -> Callable[Concatenate[QueryCtx, P], R]:
    """Have a function of a context asked once in a run, and again after a write: `@remembered`.

    For what rules look up and what is the same for many rows. Arguments must be hashable, and what
    it returns must not be changed.
    """

    @functools.wraps(handler)
    def remember(ctx: QueryCtx, /, *args: P.args, **kwargs: P.kwargs) -> R:
        given: object = ctx
        if not isinstance(given, QueryCtx):
            msg = f"{name_of(handler)} is remembered within a transaction; give it the ctx of a query or mutation"
            raise DeveloperError(msg, code="InvalidArgument")
        changes = ctx.db.changes
        known: dict[Hashable, tuple[int, Any]] = ctx.__dict__.setdefault("_remembered", {})
        key = (handler, args, tuple(sorted(kwargs.items())))
        found = known.get(key)
        if found is None or found[0] != changes:
            found = known[key] = (changes, handler(ctx, *args, **kwargs))
        value: R = found[1]
        return value

    return remember


class Users(Generic[U_co, S_co]):
    """Who calls, as rows of the application's own tables, with their roles.

    By default that is how `camber.components.auth` has it: the subject of an identity is
    `"<id of a user>|<id of a session>"`, and its issuer is this deployment. A session that has ended, or
    is another user's, makes its bearer nobody, at once and whatever its token says.

    Args:
        user: the table of users, whose field `roles` is a list of texts.
        sessions: the table of sessions, whose field `userId` names the user. One may have `roles` too,
            which its user has only there.
        by: for other providers: an index on one field that holds the `token_identifier` of the identity.
        issuer: who has issued the identity; this deployment, if it is left out.
        roles: the name of the field of roles.
    """

    @overload
    def __init__(
        self: Users[D, S],
        user: type[D],
        *,
        sessions: type[S],
        issuer: str | None = None,
        roles: str = "roles",
    ) -> None: ...

    @overload
    def __init__(
        self: Users[D, Any],
        user: type[D],
        *,
        by: Index | None = None,
        issuer: str | None = None,
        roles: str = "roles",
    ) -> None: ...

    @overload
    def __init__(
        self: Users[Any, Any],
        user: str,
        *,
        sessions: str | None = None,
        issuer: str | None = None,
        roles: str = "roles",
    ) -> None: ...

    def __init__(
        self,
        user: Any,
        *,
        sessions: Any = None,
        by: Any = None,
        issuer: str | None = None,
        roles: str = "roles",
    ) -> None:
        self._user = user
        self._sessions = sessions
        self._by = by
        self._issuer = issuer
        self._roles = roles
        if by is not None and sessions is not None:
            msg = "Users(by=…) finds users by their token identifier, which names no session"
            raise PredicateError(msg)
        if by is not None and (not isinstance(by, Index) or len(by.fields) != 1):
            msg = f"Users(by={by!r}): it is an index on one field, which holds token identifiers"
            raise PredicateError(msg)
        self._found = remembered(self._find)
        self._known_roles = remembered(self._roles_of)
        self.signed_in: Guard = Guard(lambda ctx: self.current(ctx) is not None, name="signed_in")
        """Lets in who has a user, and a session if the identity names one."""

    def current(self, ctx: QueryCtx, /) -> U_co | None:
        """Return the caller's user, or None if nobody has signed in or the session has ended."""
        return self._found(ctx)[0]  # type: ignore[no-any-return]

    def session(self, ctx: QueryCtx, /) -> S_co | None:
        """Return the caller's session, or None if there is none."""
        return self._found(ctx)[1]  # type: ignore[no-any-return]

    def require(self, ctx: QueryCtx, /) -> U_co:
        """Return the caller's user.

        Raises:
            AccessDenied: there is none (code Unauthenticated).
        """
        user = self.current(ctx)
        if user is None:
            raise AccessDenied.unauthenticated()
        return user

    def roles(self, ctx: QueryCtx, /) -> frozenset[str]:
        """Return the roles that the caller has, by the user and by the session."""
        return self._known_roles(ctx)

    def role(self, *names: str) -> Guard:
        """Return the guard that lets in who has any of these roles."""
        wanted = frozenset(map(str, names))
        if not wanted:
            raise PredicateError("role() takes the name of a role, or several")
        shown = ", ".join(map(repr, sorted(wanted)))
        return Guard(lambda ctx: not wanted.isdisjoint(self.roles(ctx)), name=f"role({shown})")

    def _find(self, ctx: QueryCtx) -> tuple[Any, Any]:
        identity = ctx.auth.get_user_identity()
        if identity is None:
            return None, None
        # Its rows decide who the caller is: no rule of theirs may depend on that.
        db = ctx.db.unrestricted
        if self._by is not None:
            (field,) = self._by.fields
            query = db.query(self._user)
            return query.with_index(self._by, {field: identity.token_identifier}).unique(), None
        if not self._is_ours(ctx, identity):
            return None, None
        user_id, has_session, session_id = identity.subject.partition("|")
        user = _row(ctx, self._user, user_id)
        if user is not None and (self._sessions is None or not has_session):
            return user, None
        session = None if user is None else _row(ctx, self._sessions, session_id)
        if session is None or _field(session, "userId") != user_id:
            ctx.auth.session_is_over = True
            return None, None
        return user, session

    def _is_ours(self, ctx: QueryCtx, identity: UserIdentity) -> bool:
        """Return whether who issued the identity may say which user that is.

        Another provider's subjects are texts of its own, and may look like anybody's id.
        """
        issuer = ctx.env.get(SITE_URL) if self._issuer is None else self._issuer
        return issuer is not None and identity.issuer.rstrip("/") == issuer.rstrip("/")

    def _roles_of(self, ctx: QueryCtx) -> frozenset[str]:
        found: set[str] = set()
        for row in self._found(ctx):
            roles = () if row is None else _field(row, self._roles) or ()
            found.update(map(str, [roles] if isinstance(roles, str) else roles))
        return frozenset(found)


def _row(ctx: QueryCtx, table: Any, text: str) -> Any:
    id_ = ctx.db.unrestricted.normalize_id(table, text)
    return None if id_ is None else ctx.db.unrestricted.get(id_)


def _field(row: Any, wire_name: str) -> Any:
    fields = row if isinstance(row, dict) else row.to_dict()
    return fields.get(wire_name)


_convex_users: Final = Users("users", sessions="authSessions")


def role(*names: str) -> Guard:
    """Return the guard that lets in who has any of these roles, by table `users` or `authSessions`.

    As sign-in by `camber.components.auth` has them; other tables have a `Users(...)` of their own.
    """
    return _convex_users.role(*names)


__all__ = [
    "Access",
    "RowAllow",
    "Users",
    "anyone",
    "guard",
    "nobody",
    "remembered",
    "role",
    "row_rule",
    "signed_in",
]
